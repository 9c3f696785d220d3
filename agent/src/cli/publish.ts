/**
 * `latchkey-agent publish`: publishes one message through the running agent.
 *
 * Units   sizes in bytes.
 * Errors  exit code 1 when the broker refused, 3 when agent or broker cannot be reached.
 * Source  `local-socket.ts`.
 *
 * @module
 */
import { resolve } from 'node:path';
import { EXIT, parseTopicName, UnreachableError, UsageError } from '@latchkey/shared';
import { askAgent } from '../local-client.js';
import { type Io, readAll, writeLine } from './io.js';

export interface PublishOptions {
  readonly topic: string;
  readonly stateDir: string;
  readonly qos: string;
  readonly retain?: boolean | undefined;
  /** The standard input when left out. */
  readonly message?: string | undefined;
}

const MAX_MESSAGE_BYTES = 256 * 1024;

export async function runPublish(options: PublishOptions, io: Io): Promise<number> {
  const topic = parseTopicName(options.topic, 'TOPIC');
  if (!/^[012]$/.test(options.qos)) throw new UsageError('--qos must be 0, 1 or 2');
  const payload =
    options.message === undefined
      ? await readAll(io.stdin, MAX_MESSAGE_BYTES)
      : Buffer.from(options.message);
  const { status, body } = await askAgent(resolve(options.stateDir), 'POST', '/publish', {
    topic,
    payload_base64: payload.toString('base64'),
    qos: Number(options.qos),
    retain: options.retain === true,
  });
  if (status === 200) return EXIT.ok;
  const reason = String(body.error_description ?? `the agent answered ${status}`);
  if (status === 503) throw new UnreachableError(`not published: ${reason}`);
  writeLine(io.stderr, `not published: ${reason}`);
  return EXIT.failed;
}
