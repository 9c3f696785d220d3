/**
 * `latchkey-agent outbox list | drop`: messages that wait for the broker, and how to be rid of them.
 *
 * Units   sizes in bytes, ages as instants in ISO 8601.
 * Errors  exit code 1 when nothing was dropped, 3 when no agent runs.
 * Source  `local/routes.ts`.
 *
 * @module
 */
import { resolve } from 'node:path';
import { EXIT, formatInstant, UsageError } from '@latchkey/shared';
import { askAgent, type LocalAnswer } from '../local/ask.js';
import { type Io, writeLine } from './io.js';

export interface OutboxListOptions {
  readonly stateDir: string;
  readonly json?: boolean | undefined;
}

export interface OutboxDropOptions {
  readonly stateDir: string;
  readonly sequence?: string | undefined;
  readonly all?: boolean | undefined;
}

interface Listed {
  readonly sequence: number;
  readonly lane: string;
  readonly topic: string;
  readonly qos: number;
  readonly bytes: number;
  readonly accepted_at: number | null;
}

function mustBeOk({ status, body }: LocalAnswer): LocalAnswer['body'] {
  if (status === 200) return body;
  throw new UsageError(String(body.error_description ?? `the agent answered ${status}`));
}

export async function runOutboxList(options: OutboxListOptions, io: Io): Promise<number> {
  const body = mustBeOk(await askAgent(resolve(options.stateDir), 'GET', '/outbox'));
  if (options.json) {
    writeLine(io.stdout, JSON.stringify(body));
    return EXIT.ok;
  }
  const { messages, bytes, oldest } = body as unknown as {
    readonly messages: number;
    readonly bytes: number;
    readonly oldest: readonly Listed[];
  };
  for (const { sequence, lane, topic, qos, bytes: size, accepted_at: at } of oldest) {
    const when = at === null ? 'clock not set' : formatInstant(at);
    const line = `${String(sequence).padEnd(8)}${lane.padEnd(11)}${when.padEnd(22)}QoS ${qos}  ${size} B  ${topic}`;
    writeLine(io.stdout, line);
  }
  const rest = messages > oldest.length ? `, the oldest ${oldest.length} are shown` : '';
  writeLine(io.stderr, `${messages} messages of ${bytes} bytes wait${rest}`);
  return EXIT.ok;
}

export async function runOutboxDrop(options: OutboxDropOptions, io: Io): Promise<number> {
  const { sequence, all } = options;
  if ((sequence === undefined) === (all !== true)) {
    throw new UsageError('give --sequence N, as "outbox list" shows it, or --all');
  }
  if (sequence !== undefined && !/^[1-9][0-9]{0,14}$/.test(sequence)) {
    throw new UsageError('--sequence must be a whole number from 1 on');
  }
  const path = sequence === undefined ? '/outbox' : `/outbox/${sequence}`;
  const { dropped } = mustBeOk(await askAgent(resolve(options.stateDir), 'DELETE', path));
  writeLine(io.stderr, `${String(dropped)} dropped`);
  return dropped === 0 ? EXIT.failed : EXIT.ok;
}
