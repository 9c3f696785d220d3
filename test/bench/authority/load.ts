/**
 * The process that makes load: signs assertions first, then sends them over keep-alive connections,
 * as lean as it can be, so that the server is what is measured.
 *
 * @module
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import {
  createKeySigner,
  generateKey,
  type Issuer,
  JWT_BEARER_GRANT,
  type PrivateKey,
  parseClientId,
  type Signer,
  signAssertion,
  systemClock,
} from '@latchkey/shared';
import { deviceId, type FromLoad, type Order, type Outcome, type ToLoad } from './messages.ts';

const CLIENT_ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

const keys: PrivateKey[] = [];
const signers = new Map<number, Signer>();

function signerOf(index: number): Signer {
  const known = signers.get(index);
  if (known !== undefined) return known;
  const signer = createKeySigner(keys[index % keys.length] as PrivateKey);
  signers.set(index, signer);
  return signer;
}

function damaged(assertion: string): string {
  const at = assertion.length - 20;
  return `${assertion.slice(0, at)}${assertion[at] === 'A' ? 'B' : 'A'}${assertion.slice(at + 1)}`;
}

async function bodyOf({ target, request, devices }: Order): Promise<string> {
  const index = devices.first + Math.floor(Math.random() * devices.count);
  const id = request === 'unknown-client' ? `u-${deviceId(index)}` : deviceId(index);
  const use = request === 'client-authentication' ? 'client-authentication' : 'grant';
  const issuer = target.issuer as Issuer;
  const options = { clientId: parseClientId(id), issuer, now: systemClock.now(), use } as const;
  const signed = await signAssertion(signerOf(index), { ...options, lifetimeSeconds: 300 });
  const assertion = request === 'bad-signature' ? damaged(signed) : signed;
  const form = new URLSearchParams(
    use === 'grant'
      ? { grant_type: JWT_BEARER_GRANT, assertion }
      : {
          grant_type: 'client_credentials',
          client_assertion_type: CLIENT_ASSERTION_TYPE,
          client_assertion: assertion,
        },
  );
  if (target.resource !== undefined) form.set('resource', target.resource);
  return form.toString();
}

/** Whole requests, ready to be written. */
async function prepare(order: Order): Promise<readonly Buffer[]> {
  const { host, port } = { host: 'localhost', port: order.target.port };
  const requests: Buffer[] = [];
  for (let i = 0; i < order.requests; i += 1) {
    const body = await bodyOf(order);
    const head = [
      `POST ${order.target.path} HTTP/1.1`,
      `Host: ${host}:${port}`,
      'Content-Type: application/x-www-form-urlencoded',
      `Content-Length: ${body.length}`,
    ];
    requests.push(Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`));
  }
  return requests;
}

/** One connection, one request at a time. */
interface Lane {
  readonly socket: Socket;
  send(request: Buffer): Promise<void>;
}

const HEAD_END = Buffer.from('\r\n\r\n');

async function openLane({ target, expectedStatus }: Order): Promise<Lane> {
  const socket = connect({ host: '127.0.0.1', port: target.port, noDelay: true });
  await once(socket, 'connect');
  let received: Buffer = Buffer.alloc(0);
  let settle: { resolve: () => void; reject: (error: Error) => void } | undefined;
  const finish = (error?: Error) => {
    const waiting = settle;
    settle = undefined;
    if (error === undefined) waiting?.resolve();
    else waiting?.reject(error);
  };
  socket.on('error', finish);
  socket.on('close', () => finish(new Error('the server closed the connection')));
  socket.on('data', (chunk: Buffer) => {
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
    const headEnd = received.indexOf(HEAD_END);
    if (headEnd === -1) return;
    const head = received.toString('latin1', 0, headEnd);
    const length = Number(/\r\ncontent-length: *([0-9]+)/i.exec(head)?.[1]);
    if (Number.isNaN(length)) return finish(new Error(`no content-length:\n${head}`));
    const end = headEnd + HEAD_END.length + length;
    if (received.length < end) return;
    const status = Number(head.slice(9, 12));
    const text = received.toString('utf8', headEnd + HEAD_END.length, end);
    received = received.subarray(end);
    if (status === expectedStatus) finish();
    else finish(new Error(`answered ${status} instead of ${expectedStatus}: ${text}`));
  });
  return {
    socket,
    send: (request) =>
      new Promise((resolve, reject) => {
        settle = { resolve, reject };
        socket.write(request);
      }),
  };
}

function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN;
}

function outcomeOf(ms: number, latencies: number[]): Outcome {
  const sorted = latencies.sort((a, b) => a - b);
  return { ms, p50Ms: quantile(sorted, 0.5), p99Ms: quantile(sorted, 0.99) };
}

/** Every connection sends its next request when the one before was answered. */
async function runClosed(lanes: readonly Lane[], requests: readonly Buffer[]): Promise<Outcome> {
  const latencies: number[] = [];
  let next = 0;
  const begin = performance.now();
  await Promise.all(
    lanes.map(async (lane) => {
      while (next < requests.length) {
        const request = requests[next] as Buffer;
        next += 1;
        const at = performance.now();
        await lane.send(request);
        latencies.push(performance.now() - at);
      }
    }),
  );
  return outcomeOf(performance.now() - begin, latencies);
}

/**
 * Requests come at their time, to the millisecond, and wait for a connection if all are busy; a latency
 * counts from when the request came. It sleeps in between, since a core that it kept busy would be
 * missing to the server.
 */
async function runPaced(
  lanes: readonly Lane[],
  requests: readonly Buffer[],
  perSecond: number,
): Promise<Outcome> {
  const latencies: number[] = [];
  const idle = [...lanes];
  const waiting: { readonly request: Buffer; readonly cameAt: number }[] = [];
  const failed = new AbortController();
  const pump = (): void => {
    while (idle.length > 0 && waiting.length > 0) {
      const lane = idle.pop() as Lane;
      const { request, cameAt } = waiting.shift() as (typeof waiting)[number];
      lane.send(request).then(
        () => {
          latencies.push(performance.now() - cameAt);
          idle.push(lane);
          pump();
        },
        (error: unknown) => failed.abort(error),
      );
    }
  };
  const begin = performance.now();
  for (let next = 0; latencies.length < requests.length; ) {
    const now = performance.now();
    for (; next < requests.length && begin + (next / perSecond) * 1000 <= now; next += 1) {
      waiting.push({ request: requests[next] as Buffer, cameAt: now });
    }
    pump();
    await delay(1);
    failed.signal.throwIfAborted();
  }
  return outcomeOf(performance.now() - begin, latencies);
}

async function run(order: Order): Promise<Outcome> {
  const requests = await prepare(order);
  const lanes = await Promise.all(Array.from({ length: order.connections }, () => openLane(order)));
  try {
    return order.perSecond === undefined
      ? await runClosed(lanes, requests)
      : await runPaced(lanes, requests, order.perSecond);
  } finally {
    for (const { socket } of lanes) socket.destroy();
  }
}

async function answer(message: ToLoad): Promise<FromLoad> {
  if (message.type === 'run') return { type: 'done', outcome: await run(message.order) };
  while (keys.length < message.count) keys.push(generateKey());
  return { type: 'keys', xs: keys.map(({ publicKey }) => publicKey.jwk.x) };
}

process.on('message', (message: ToLoad) => {
  void answer(message)
    .catch((error: unknown): FromLoad => ({ type: 'failed', message: String(error) }))
    .then((reply) => process.send?.(reply));
});
