/**
 * Requests to the agent over its local socket, tried again while no agent answers, as when it restarts.
 *
 * Units   milliseconds, sizes in bytes.
 * Errors  `AgentError`.
 * Source  RFC 9112; loads nothing but `node:http`.
 *
 * @module
 */
import { Agent as ConnectionPool, type IncomingMessage, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { AgentError, errorOf } from './agent-error.js';

/** Longer than the agent waits for the broker's acknowledgement. */
const ANSWER_TIMEOUT_MS = 60_000;
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2000;

export type Body = Readonly<Record<string, unknown>>;

export interface Reply {
  readonly status: number;
  readonly body: Body;
}

export interface Requests {
  /** The answer to one request, whatever its status; tried again while there is none, for `timeoutMs`. */
  send(method: 'GET' | 'POST', path: string, text?: string): Promise<Reply>;
  /** The answer as it comes, when it is 200. One try. */
  open(path: string, signal: AbortSignal): Promise<IncomingMessage>;
  /** Ends everything. */
  close(): void;
  readonly signal: AbortSignal;
}

async function readReply(response: IncomingMessage): Promise<Reply> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > MAX_ANSWER_BYTES) throw new Error('the answer is too large');
    chunks.push(chunk);
  }
  const { statusCode: status = 0 } = response;
  return { status, body: JSON.parse(Buffer.concat(chunks).toString('utf8')) };
}

/** Longer after each try, so that many programs do not press an agent that starts. */
export const pauseMs = (tries: number): number =>
  Math.min(FIRST_PAUSE_MS * 2 ** Math.min(tries, 10), LONGEST_PAUSE_MS) * (0.5 + Math.random() / 2);

export function createRequests(socketPath: string, timeoutMs: number): Requests {
  const pool = new ConnectionPool({ keepAlive: true, maxSockets: 4 });
  const closing = new AbortController();

  const start = (
    method: string,
    path: string,
    options: { readonly pool: ConnectionPool | false; readonly signal: AbortSignal; text?: string },
  ): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      const { pool: agent, signal, text } = options;
      const outgoing = request({ socketPath, method, path, agent, signal }, resolve);
      outgoing.once('error', reject);
      outgoing.end(text);
    });

  const unavailable = (cause: unknown): AgentError => {
    if (closing.signal.aborted) return new AgentError('closed', 'the client was closed');
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
    const why = cause instanceof Error ? cause.message : String(cause);
    const text =
      code === 'ENOENT' || code === 'ECONNREFUSED'
        ? `no agent runs on ${socketPath}`
        : `the agent on ${socketPath} did not answer: ${why}`;
    return new AgentError('unavailable', text, { cause });
  };

  return {
    send: async (method, path, text) => {
      const until = performance.now() + timeoutMs;
      for (let tries = 0; ; tries += 1) {
        try {
          const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(ANSWER_TIMEOUT_MS)]);
          const options = { pool, signal, ...(text !== undefined && { text }) };
          return await readReply(await start(method, path, options));
        } catch (error) {
          const waitMs = pauseMs(tries);
          if (closing.signal.aborted || performance.now() + waitMs > until)
            throw unavailable(error);
          await sleep(waitMs, undefined, { signal: closing.signal }).catch(() => undefined);
        }
      }
    },
    open: async (path, signal) => {
      const either = AbortSignal.any([closing.signal, signal]);
      let response: IncomingMessage;
      try {
        // Apart from the pool: it stays open.
        response = await start('GET', path, { pool: false, signal: either });
        if (response.statusCode === 200) return response;
      } catch (error) {
        throw unavailable(error);
      }
      const { status, body } = await readReply(response);
      throw errorOf(status, body);
    },
    close: () => {
      closing.abort();
      pool.destroy();
    },
    signal: closing.signal,
  };
}
