import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import {
  createHttpClient,
  type HttpClient,
  parseTlsPin,
  type TlsPin,
  tlsPinOf,
  withTlsPins,
} from '@latchkey/shared';
import { afterEach, describe, expect, test } from 'vitest';
import { newSelfSigned, selfSigned } from '../helpers/certificate.ts';

const PIN = createHash('sha256').update('a key').digest('base64');
const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

/** An https server of localhost that counts its connections and requests. */
async function serve() {
  const seen = { connections: 0, requests: 0, bytes: '' };
  const server = createServer(selfSigned(), (request, response) => {
    seen.requests += 1;
    request.on('data', (chunk) => {
      seen.bytes += chunk;
    });
    request.on('end', () => response.end('ok'));
  });
  server.on('secureConnection', () => {
    seen.connections += 1;
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `https://localhost:${(server.address() as AddressInfo).port}/`;
  return { server, seen, url };
}

const http = (...certificates: { readonly cert: string }[]): HttpClient =>
  createHttpClient({ ca: certificates.map(({ cert }) => cert).join('\n') });
const ask = (client: HttpClient, url: string) =>
  client.request({ method: 'POST', url, body: 'a secret' });
const refused = expect.objectContaining({
  name: 'UnreachableError',
  message: expect.stringMatching(/TLS key is none that is pinned; it is sha256\//),
});

test('the pin of a certificate is what openssl computes', () => {
  const { cert } = selfSigned();
  const key = execFileSync('openssl', ['x509', '-pubkey', '-noout'], { input: cert });
  const der = execFileSync('openssl', ['pkey', '-pubin', '-outform', 'DER'], { input: key });
  expect(tlsPinOf(cert)).toBe(createHash('sha256').update(der).digest('base64'));
});

describe('parseTlsPin', () => {
  test.each([
    { name: 'alone', text: PIN },
    { name: 'as OkHttp writes it', text: `sha256/${PIN}` },
    { name: 'as curl writes it', text: `sha256//${PIN}` },
  ])('reads a pin $name', ({ text }) => {
    expect(parseTlsPin(text)).toBe(PIN);
  });

  test('a pin that begins with a slash is not taken for a part of its prefix', () => {
    const pin = Buffer.alloc(32, 0xff).toString('base64');
    expect(pin.startsWith('/')).toBe(true);
    for (const prefix of ['', 'sha256/', 'sha256//']) expect(parseTlsPin(prefix + pin)).toBe(pin);
  });

  test.each([
    { name: 'nothing', text: '' },
    { name: 'a byte less', text: createHash('sha256').digest().subarray(1).toString('base64') },
    { name: 'a byte more', text: Buffer.alloc(33).toString('base64') },
    { name: 'SHA-1', text: `sha1/${createHash('sha1').digest('base64')}` },
    { name: 'hex', text: createHash('sha256').digest('hex') },
    { name: 'base64url', text: Buffer.alloc(32, 0xff).toString('base64url') },
    { name: 'bits behind the last byte', text: `${'A'.repeat(42)}B=` },
    { name: 'a blank', text: ` ${PIN}` },
    { name: 'a line end', text: `${PIN}\n` },
  ])('refuses $name', ({ text }) => {
    expect(() => parseTlsPin(text)).toThrow(
      expect.objectContaining({ name: 'FormatError', field: 'tls_pin' }),
    );
  });
});

describe('a client with pins', () => {
  const own = () => tlsPinOf(selfSigned().cert);
  const other = PIN as TlsPin;

  test.each([
    { name: 'the only pin', pins: () => [own()], isGood: true },
    { name: 'one of several', pins: () => [other, own()], isGood: true },
    { name: 'none', pins: () => [other], isGood: false },
  ])('a server whose key is $name: $isGood', async ({ pins, isGood }) => {
    const { url, seen } = await serve();
    const answer = ask(withTlsPins(http(selfSigned()), pins()), url);
    if (isGood) expect((await answer).body).toBe('ok');
    else await expect(answer).rejects.toEqual(refused);
    expect([seen.requests, seen.bytes]).toEqual(isGood ? [1, 'a secret'] : [0, '']);
  });

  test('without pins any valid certificate will do', async () => {
    const { url } = await serve();
    const client = http(selfSigned());
    expect(withTlsPins(client, [])).toBe(client);
    expect((await ask(client, url)).body).toBe('ok');
  });

  test('a pin does not replace a valid certificate', async () => {
    const { url, seen } = await serve();
    await expect(ask(withTlsPins(createHttpClient(), [own()]), url)).rejects.toThrow(
      /self-signed certificate/,
    );
    expect(seen.requests).toBe(0);
  });

  test('nor the name of the server', async () => {
    const { url, seen } = await serve();
    const client = withTlsPins(http(selfSigned()), [own()]);
    await expect(ask(client, url.replace('localhost', '127.0.0.1'))).rejects.toThrow(/IP/);
    expect(seen.requests).toBe(0);
  });

  test('a key that changes between two requests is refused, with a good certificate too', async () => {
    const { url, server, seen } = await serve();
    const next = newSelfSigned();
    const client = http(selfSigned(), next);
    const pinned = withTlsPins(client, [own()]);
    await ask(pinned, url);
    server.setSecureContext(next);
    await expect(ask(pinned, url)).rejects.toEqual(refused);
    expect((await ask(client, url)).body).toBe('ok');
    expect((await ask(withTlsPins(client, [own(), tlsPinOf(next.cert)]), url)).body).toBe('ok');
    expect(seen.requests).toBe(3);
  });

  test('no connection that was made without pins is used again', async () => {
    const { url, seen } = await serve();
    const client = http(selfSigned());
    await ask(client, url);
    await expect(ask(withTlsPins(client, [other]), url)).rejects.toEqual(refused);
    expect(seen.requests).toBe(1);
  });

  test('http is refused, on this machine too', async () => {
    await expect(
      ask(withTlsPins(createHttpClient(), [own()]), 'http://127.0.0.1:1/'),
    ).rejects.toThrow(/only https/);
  });
});
