/**
 * The local socket: programs on the device publish through it and ask for the status, without knowing
 * what a token is. HTTP/1.1 on a Unix socket of mode 0660.
 *
 * `POST /publish` `{topic, payload | payload_base64, qos, retain, wait}` answers 202 once the message is
 * safe in the outbox; with `wait` 200 after the broker's acknowledgement, and 202 when that takes long.
 * 403: this device may not. 507: it cannot be kept. `GET /outbox` lists the oldest messages,
 * `DELETE /outbox` and `DELETE /outbox/SEQUENCE` drop them. `GET /status`.
 *
 * Units   sizes in bytes, milliseconds.
 * Errors  `UsageError` when another agent runs on this state folder.
 * Source  DESIGN 7; invariants I10 (what was answered with 2xx survives a power cut), I11.
 *
 * @module
 */
import { chmod, lstat, rename, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import {
  ConfigError,
  type Logger,
  parsedBy,
  parseTopicName,
  parseWith,
  UsageError,
} from '@latchkey/shared';
import * as v from 'valibot';
import { OfflineError, OutboxFullError, PublishRefusedError } from './mqtt-errors.js';
import type { Outbox, OutboxMessage } from './outbox.js';
import type { Publisher } from './publisher.js';

const MAX_BODY_BYTES = 512 * 1024;
const MAX_CONNECTIONS = 64;
const MAX_LISTED = 100;
/** Shorter than `latchkey-agent` waits for the answer. */
const ACKNOWLEDGE_TIMEOUT_MS = 30_000;
const OUTBOX = /^\/outbox(?:\/([1-9][0-9]{0,14}))?$/;
const REQUEST_TIMEOUT_MS = 10_000;
/** `sun_path` of Linux, less the closing zero. */
const MAX_PATH_BYTES = 107;

export interface LocalSocketDeps {
  readonly path: string;
  readonly publisher: Pick<Publisher, 'publish' | 'publishAndWait'>;
  readonly outbox: Pick<Outbox, 'list' | 'drop' | 'messages' | 'bytes'>;
  readonly status: () => object;
  readonly logger: Logger;
}

export interface LocalSocket {
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly body: object;
}

const publishSchema = v.pipe(
  v.strictObject({
    topic: v.pipe(
      v.string(),
      parsedBy((value) => parseTopicName(value)),
    ),
    payload: v.optional(v.string()),
    payload_base64: v.optional(v.pipe(v.string(), v.base64('must be base64'))),
    qos: v.optional(v.picklist([0, 1, 2]), 1),
    retain: v.optional(v.boolean(), false),
    wait: v.optional(v.boolean(), false),
  }),
  v.check(
    (body) => body.payload === undefined || body.payload_base64 === undefined,
    'payload and payload_base64 exclude each other',
  ),
);

const refusal = (status: number, error: string, description: string): Answer => ({
  status,
  body: { error, error_description: description },
});

/** The body as text, or `undefined` when it is too large. */
async function readBody(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > MAX_BODY_BYTES) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

async function answerPublish(
  request: IncomingMessage,
  { publisher }: LocalSocketDeps,
): Promise<Answer> {
  const text = await readBody(request);
  if (text === undefined) {
    return refusal(413, 'invalid_request', `the body exceeds ${MAX_BODY_BYTES} bytes`);
  }
  let body: v.InferOutput<typeof publishSchema>;
  try {
    body = parseWith(publishSchema, JSON.parse(text), 'the request');
  } catch (error) {
    const description = error instanceof ConfigError ? error.message : 'the request is not JSON';
    return refusal(400, 'invalid_request', description);
  }
  const { topic, qos, retain: isRetained, wait } = body;
  const payload =
    body.payload_base64 === undefined
      ? Buffer.from(body.payload ?? '')
      : Buffer.from(body.payload_base64, 'base64');
  const message = { topic, payload, qos, isRetained };
  try {
    if (wait) await publisher.publishAndWait(message, ACKNOWLEDGE_TIMEOUT_MS);
    else await publisher.publish(message);
  } catch (error) {
    if (error instanceof PublishRefusedError) return refusal(403, 'refused', error.message);
    if (error instanceof OutboxFullError) return refusal(507, 'outbox_full', error.message);
    if (error instanceof OfflineError) {
      return { status: 202, body: { topic, qos, is_acknowledged: false, detail: error.message } };
    }
    throw error;
  }
  return { status: wait ? 200 : 202, body: { topic, qos, is_acknowledged: wait } };
}

function listed({ sequence, lane, topic, payload, qos, acceptedAt }: OutboxMessage): object {
  const accepted = acceptedAt ?? null;
  return { sequence, lane, topic, qos, bytes: payload.length, accepted_at: accepted };
}

async function answerOutbox(
  method: string | undefined,
  sequence: string | undefined,
  { outbox }: LocalSocketDeps,
): Promise<Answer> {
  if (method === 'DELETE') {
    const which = sequence === undefined ? 'all' : { sequence: Number(sequence) };
    try {
      return { status: 200, body: { dropped: await outbox.drop(which) } };
    } catch (error) {
      if (error instanceof OutboxFullError) return refusal(507, 'outbox_full', error.message);
      throw error;
    }
  }
  if (method !== 'GET' || sequence !== undefined) {
    return refusal(405, 'invalid_request', 'the method must be GET or DELETE');
  }
  const { messages, bytes } = outbox;
  return { status: 200, body: { messages, bytes, oldest: outbox.list(MAX_LISTED).map(listed) } };
}

async function answer(request: IncomingMessage, deps: LocalSocketDeps): Promise<Answer> {
  const { method, url } = request;
  const [isOutbox, sequence] = OUTBOX.exec(url ?? '') ?? [];
  if (isOutbox !== undefined) return answerOutbox(method, sequence, deps);
  const route = url === '/publish' ? 'POST' : url === '/status' ? 'GET' : undefined;
  if (route === undefined)
    return refusal(
      404,
      'not_found',
      'known are POST /publish, GET /status, GET and DELETE /outbox',
    );
  if (method !== route) return refusal(405, 'invalid_request', `the method must be ${route}`);
  if (route === 'GET') return { status: 200, body: deps.status() };
  return answerPublish(request, deps);
}

async function respond(
  request: IncomingMessage,
  response: ServerResponse,
  deps: LocalSocketDeps,
): Promise<void> {
  let result: Answer;
  try {
    result = await answer(request, deps);
  } catch (error) {
    if (request.destroyed && !request.complete) return; // the program went away
    deps.logger.error({ event: 'socket.failed', err: error }, 'request on the local socket failed');
    result = refusal(500, 'server_error', 'unexpected failure; the log of the agent says more');
  }
  response.writeHead(result.status, {
    'content-type': 'application/json',
    ...(result.status === 413 && { connection: 'close' }),
  });
  response.end(JSON.stringify(result.body));
}

/** Whether a process answers on the socket. */
function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const settle = (alive: boolean): void => {
      socket.destroy();
      resolve(alive);
    };
    socket.once('connect', () => settle(true));
    socket.once('error', () => settle(false));
  });
}

/**
 * Takes away a socket that a crashed agent left. It is moved first and asked after, so that two agents
 * that start at once cannot take away each other's fresh one.
 */
async function removeStale(path: string): Promise<void> {
  if (!(await lstat(path)).isSocket()) throw new UsageError(`${path} is not a socket; remove it`);
  const running = new UsageError(`another agent runs on ${path}; stop it first`);
  if (await isAlive(path)) throw running;
  const moved = `${path}.${process.pid}.old`;
  await rename(path, moved);
  if (await isAlive(moved)) {
    await rename(moved, path);
    throw running;
  }
  await rm(moved, { force: true });
}

/** Listens on the socket; refuses when another agent does. */
export async function openLocalSocket(deps: LocalSocketDeps): Promise<LocalSocket> {
  const { path, logger } = deps;
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    throw new UsageError(`the path ${path} is too long for a socket; use a shorter state folder`);
  }
  const server = createServer((request, response) => void respond(request, response, deps));
  server.maxConnections = MAX_CONNECTIONS;
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.headersTimeout = REQUEST_TIMEOUT_MS;
  const listen = (): Promise<void> =>
    new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, () => {
        server.off('error', reject);
        resolve();
      });
    });
  try {
    await listen();
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EADDRINUSE')) throw error;
    await removeStale(path);
    await listen();
  }
  server.on('error', (error) => {
    logger.error({ event: 'socket.failed', err: error }, 'the local socket failed');
  });
  await chmod(path, 0o660);
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve()); // removes the socket file
        server.closeAllConnections();
      }),
  };
}
