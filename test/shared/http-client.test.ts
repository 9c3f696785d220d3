import { getEventListeners, once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { createHttpClient, type HttpClientOptions, UnreachableError } from '@latchkey/shared';
import { afterEach, describe, expect, test } from 'vitest';
import { selfSigned } from '../helpers/certificate.ts';

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

/** A server on a free port; the answer is the base URL. */
async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A server that speaks whatever the callback writes. */
async function serveRaw(onConnection: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    onConnection(socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const get = (url: string, options: HttpClientOptions = {}, signal?: AbortSignal) =>
  createHttpClient(options).request({ method: 'GET', url, ...(signal && { signal }) });
const unreachable = (text: string) =>
  expect.objectContaining({ name: 'UnreachableError', message: expect.stringContaining(text) });

describe('answers', () => {
  test('a request arrives as it was given, and so does the answer', async () => {
    const url = await serve((request, response) => {
      const { method, url: path, headers } = request;
      const seen = { method, path, type: headers['content-type'] };
      let body = '';
      request.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk;
      });
      request.on('end', () => {
        const answer = { ...seen, length: headers['content-length'], body };
        response.writeHead(201, { 'x-one': 'a' }).end(JSON.stringify(answer));
      });
    });
    const answer = await createHttpClient().request({
      method: 'POST',
      url: `${url}/a?b=c`,
      headers: { 'content-type': 'text/plain' },
      body: 'größer',
    });
    expect(answer.status).toBe(201);
    expect(answer.headers['x-one']).toBe('a');
    expect(JSON.parse(answer.body)).toEqual({
      method: 'POST',
      path: '/a?b=c',
      type: 'text/plain',
      length: '8',
      body: 'größer',
    });
  });

  test.each([200, 204, 400, 404, 500, 503])('the status %i is an answer', async (status) => {
    const url = await serve((_, response) => response.writeHead(status).end());
    await expect(get(url)).resolves.toMatchObject({ status, body: '' });
  });

  test.each([301, 302, 303, 307, 308])(
    'a redirect (%i) is an answer and not followed',
    async (status) => {
      let requests = 0;
      const url = await serve((_, response) => {
        requests += 1;
        response.writeHead(status, { location: '/elsewhere' }).end();
      });
      await expect(get(url)).resolves.toMatchObject({ status });
      expect(requests).toBe(1);
    },
  );

  test('a body that is no text is there as bytes', async () => {
    const bytes = Buffer.from([0xd2, 0x84, 0xff, 0x00]);
    const url = await serve((_, response) => response.end(bytes));
    expect((await get(url)).bytes).toEqual(bytes);
  });

  test('a character split between two chunks is put together', async () => {
    const url = await serve((_, response) => {
      const bytes = Buffer.from('é');
      response.write(bytes.subarray(0, 1));
      setImmediate(() => response.end(bytes.subarray(1)));
    });
    await expect(get(url)).resolves.toMatchObject({ body: 'é' });
  });
});

describe('bounds', () => {
  test.each([
    { size: 1000, ok: true },
    { size: 1001, ok: false },
    { size: 1_000_000, ok: false },
  ])('a body of $size bytes under a cap of 1,000: $ok', async ({ size, ok }) => {
    const url = await serve((_, response) => response.end('x'.repeat(size)));
    const answer = get(url, { maxBodyBytes: 1000 });
    if (ok) await expect(answer).resolves.toMatchObject({ status: 200 });
    else await expect(answer).rejects.toEqual(unreachable('exceeds 1000 bytes'));
  });

  test('a body without end is cut off', async () => {
    let isClosed = false;
    const url = await serve((request, response) => {
      request.socket.on('close', () => {
        isClosed = true;
      });
      const pour = () => {
        while (response.write('x'.repeat(10_000)));
        response.once('drain', pour);
      };
      pour();
    });
    await expect(get(url, { maxBodyBytes: 5000 })).rejects.toEqual(unreachable('exceeds'));
    await expect.poll(() => isClosed).toBe(true);
  });

  test.each([
    { name: 'no answer', serve: () => serveRaw(() => undefined) },
    {
      name: 'half a header',
      serve: () => serveRaw((socket) => socket.write('HTTP/1.1 200 OK\r\nx:')),
    },
    { name: 'a body that stops', serve: () => serve((_, response) => void response.write('x')) },
  ])('$name within the deadline', async ({ serve: start }) => {
    await expect(get(await start(), { timeoutMs: 50 })).rejects.toEqual(
      unreachable('no answer within 50 ms'),
    );
  });

  test('a body that comes byte by byte does not move the deadline', async () => {
    const url = await serve((_, response) => {
      const timer = setInterval(() => response.write('x'), 10);
      response.on('close', () => clearInterval(timer));
    });
    await expect(get(url, { timeoutMs: 120 })).rejects.toEqual(unreachable('no answer within'));
  });
});

test('a signal that lives long keeps nothing of requests that are over', async () => {
  const url = await serve((_, response) => response.end());
  const { signal } = new AbortController();
  await get(url, {}, signal);
  await get('http://127.0.0.1:1', {}, signal).catch(() => undefined);
  expect(getEventListeners(signal, 'abort')).toEqual([]);
  const held = Object.getOwnPropertySymbols(signal).filter((name) =>
    /dependant/i.test(String(name)),
  );
  expect(held.map((name) => (signal as never)[name])).toEqual(held.map(() => undefined));
});

describe('a request may have its own bounds', () => {
  test.each([
    { size: 5, ok: true },
    { size: 6, ok: false },
  ])('a body of $size bytes under its own cap of 5: $ok', async ({ size, ok }) => {
    const url = await serve((_, response) => response.end('x'.repeat(size)));
    const http = createHttpClient({ maxBodyBytes: ok ? 1 : 1000 });
    const answer = http.request({ method: 'GET', url, maxBodyBytes: 5 });
    if (ok) await expect(answer).resolves.toMatchObject({ body: 'xxxxx' });
    else await expect(answer).rejects.toEqual(unreachable('exceeds 5 bytes'));
  });

  test('its own deadline', async () => {
    const url = await serveRaw(() => undefined);
    const answer = createHttpClient().request({ method: 'GET', url, timeoutMs: 30 });
    await expect(answer).rejects.toEqual(unreachable('no answer within 30 ms'));
  });
});

describe('who may be asked', () => {
  test.each([
    'http://id.example',
    'http://10.0.0.1',
    'http://0.0.0.0',
    'http://127.0.0.1.example',
    'http://[::ffff:127.0.0.1]',
    'ftp://localhost',
    'file:///etc/passwd',
    'mqtt://localhost',
  ])('%s is refused without a connection', async (url) => {
    await expect(get(url)).rejects.toEqual(unreachable('only https is allowed beyond loopback'));
  });

  test('what is no URL is a mistake of the caller', async () => {
    await expect(get('id.example')).rejects.toThrow(TypeError);
  });

  test('https is spoken to an https URL, and a server without TLS is unreachable', async () => {
    const url = await serve((_, response) => response.end('plain'));
    await expect(get(url.replace('http:', 'https:'), { ca: '' })).rejects.toThrow(UnreachableError);
  });
});

describe('TLS errors are fatal:', () => {
  const { key, cert } = selfSigned();
  test.each([
    { name: 'a certificate that nobody trusts', host: 'localhost', ca: undefined, ok: false },
    { name: 'a trusted certificate of another name', host: '127.0.0.1', ca: cert, ok: false },
    { name: 'a trusted certificate of this name', host: 'localhost', ca: cert, ok: true },
  ])('$name: $ok', async ({ host, ca, ok }) => {
    let requests = 0;
    const server = createHttpsServer({ key, cert }, (_request, response) => {
      requests += 1;
      response.end('x');
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    cleanups.push(() => void server.close());
    const url = `https://${host}:${(server.address() as AddressInfo).port}`;
    const answer = get(url, ca === undefined ? {} : { ca });
    if (ok) await expect(answer).resolves.toMatchObject({ status: 200, body: 'x' });
    else await expect(answer).rejects.toThrow(UnreachableError);
    expect(requests).toBe(ok ? 1 : 0);
  });
});

describe('failures', () => {
  test('a closed port, by address and by name', async () => {
    const url = await serveRaw(() => undefined);
    cleanups.pop()?.();
    const { port } = new URL(url);
    await expect(get(url)).rejects.toEqual(
      unreachable(`cannot reach ${url}: connect ECONNREFUSED`),
    );
    await expect(get(`http://localhost:${port}`)).rejects.toEqual(unreachable('ECONNREFUSED'));
  });

  test.each([
    { name: 'closes at once', speak: (socket: Socket) => void socket.end() },
    { name: 'speaks something else', speak: (socket: Socket) => void socket.end('220 smtp\r\n') },
    {
      name: 'breaks off in the body',
      speak: (socket: Socket) => void socket.end('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx'),
    },
  ])('a server that $name', async ({ speak }) => {
    await expect(get(await serveRaw(speak))).rejects.toThrow(UnreachableError);
  });

  test('the error names the origin alone, and keeps the cause', async () => {
    const url = await serveRaw((socket) => socket.destroy());
    const failure = await get(`${url}/path?token=hunter2`).catch((error: unknown) => error);
    expect(String(failure)).not.toContain('hunter2');
    expect(failure).toMatchObject({ cause: expect.any(Error) });
  });
});

describe('aborting', () => {
  test('before the request', async () => {
    await expect(get('http://localhost:1', {}, AbortSignal.abort())).rejects.toEqual(
      unreachable('aborted'),
    );
  });

  test.each([
    { name: 'before the answer', respond: () => undefined },
    { name: 'within the body', respond: (write: () => void) => write() },
  ])('$name closes the connection', async ({ respond }) => {
    const controller = new AbortController();
    let isClosed = false;
    const url = await serve((request, response) => {
      request.socket.on('close', () => {
        isClosed = true;
      });
      respond(() => void response.write('x'));
      setImmediate(() => controller.abort());
    });
    await expect(get(url, {}, controller.signal)).rejects.toEqual(unreachable('aborted'));
    await expect.poll(() => isClosed).toBe(true);
  });
});
