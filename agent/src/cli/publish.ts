/**
 * `latchkey-agent publish`: hands one message to the running agent, which keeps it until the broker has it.
 *
 * Units   sizes in bytes.
 * Errors  exit code 1 when it was refused or cannot be kept, 3 when no agent runs or, with
 *         `--wait`, the broker did not acknowledge in time.
 * Source  `local/routes.ts`.
 *
 * @module
 */
import { resolve } from 'node:path';
import { EXIT, parseTopicName, UsageError } from '@latchkey/shared';
import { askAgent } from '../local/ask.js';
import { type Io, readAll, writeLine } from './io.js';

export interface PublishOptions {
  readonly topic: string;
  readonly stateDir: string;
  readonly qos: string;
  readonly retain?: boolean | undefined;
  /** Until the broker acknowledged it. */
  readonly wait?: boolean | undefined;
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
    wait: options.wait === true,
  });
  if (status === 200) return EXIT.ok;
  if (status === 202) {
    if (!options.wait) return EXIT.ok;
    writeLine(io.stderr, `not published yet: ${String(body.detail)}`);
    return EXIT.unreachable;
  }
  const reason = String(body.error_description ?? `the agent answered ${status}`);
  writeLine(io.stderr, `not published: ${reason}`);
  return EXIT.failed;
}
