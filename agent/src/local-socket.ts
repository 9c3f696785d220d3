/**
 * The local socket: programs on the device publish through it and ask for the status, without knowing
 * what a token is. HTTP/1.1 on a Unix socket of mode 0660.
 *
 * `POST /publish` `{topic, payload | payload_base64, qos, retain}` answers 200 after the broker's
 * acknowledgement, 403 when the broker refused, 503 when it cannot be reached now. `GET /status`.
 *
 * Units   sizes in bytes, milliseconds.
 * Errors  `UsageError` when another agent runs on this state folder.
 * Source  DESIGN 7; invariants I10 (200 means acknowledged) and I11 (bodies are bounded).
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
import type { Message } from './mqtt-connection.js';
import { OfflineError, PublishRefusedError } from './mqtt-errors.js';

const MAX_BODY_BYTES = 512 * 1024;
const MAX_CONNECTIONS = 64;
const REQUEST_TIMEOUT_MS = 10_000;
/** `sun_path` of Linux, less the closing zero. */
const MAX_PATH_BYTES = 107;

export interface LocalSocketDeps {
  readonly path: string;
  readonly publish: (message: Message) => Promise<void>;
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
  publish: LocalSocketDeps['publish'],
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
  const { topic, qos, retain: isRetained } = body;
  const payload =
    body.payload_base64 === undefined
      ? Buffer.from(body.payload ?? '')
      : Buffer.from(body.payload_base64, 'base64');
  try {
    await publish({ topic, payload, qos, isRetained });
  } catch (error) {
    if (error instanceof PublishRefusedError) return refusal(403, 'refused', error.message);
    if (error instanceof OfflineError) return refusal(503, 'offline', error.message);
    throw error;
  }
  return { status: 200, body: { topic, qos } };
}

async function answer(request: IncomingMessage, deps: LocalSocketDeps): Promise<Answer> {
  const { method, url } = request;
  const route = url === '/publish' ? 'POST' : url === '/status' ? 'GET' : undefined;
  if (route === undefined) return refusal(404, 'not_found', 'known are POST /publish, GET /status');
  if (method !== route) return refusal(405, 'invalid_request', `the method must be ${route}`);
  if (route === 'GET') return { status: 200, body: deps.status() };
  return answerPublish(request, deps.publish);
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
