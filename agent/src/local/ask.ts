/**
 * The other end of the local socket: how the commands of `latchkey-agent` ask the daemon.
 *
 * Units   milliseconds.
 * Errors  `UnreachableError` when no agent runs on the state folder.
 * Source  `routes.ts`.
 *
 * @module
 */
import { request } from 'node:http';
import { UnreachableError } from '@latchkey/shared';
import { stateFile } from '../private-file.js';

/** Longer than the agent waits for an acknowledgement. */
const TIMEOUT_MS = 60_000;
const MAX_ANSWER_BYTES = 1024 * 1024;

export interface LocalAnswer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Sends one request to the agent that runs on the state folder. */
export async function askAgent(
  stateDir: string,
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  body?: object,
  timeoutMs: number = TIMEOUT_MS,
): Promise<LocalAnswer> {
  const socketPath = stateFile(stateDir, 'socket');
  try {
    return await new Promise<LocalAnswer>((resolve, reject) => {
      const outgoing = request(
        { socketPath, method, path, agent: false, signal: AbortSignal.timeout(timeoutMs) },
        (response) => {
          let text = '';
          response.setEncoding('utf8');
          response.on('data', (chunk: string) => {
            text += chunk;
            if (text.length > MAX_ANSWER_BYTES) response.destroy(new Error('answer too large'));
          });
          response.once('error', reject);
          response.once('end', () => {
            try {
              resolve({ status: response.statusCode as number, body: JSON.parse(text) });
            } catch (error) {
              reject(error);
            }
          });
        },
      );
      outgoing.once('error', reject);
      outgoing.end(body === undefined ? undefined : JSON.stringify(body));
    });
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
    if (code === 'ENOENT' || code === 'ECONNREFUSED') {
      throw new UnreachableError(`no agent runs on ${stateDir}; start: latchkey-agent run`, {
        cause,
      });
    }
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new UnreachableError(`the agent on ${stateDir} did not answer: ${why}`, { cause });
  }
}
