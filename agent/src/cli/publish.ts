/**
 * `latchkey-agent publish`: hands messages to the running agent, which keeps them until the broker has them.
 *
 * Units   sizes in bytes.
 * Errors  exit code 1 when a message was refused or cannot be kept, 2 when it is not what was announced, 3
 *         when no agent answers or, with `--wait`, the broker did not acknowledge in time.
 * Source  `client/connect-agent.ts`.
 *
 * @module
 */
import { EXIT, parseTopicName, type TopicName, UsageError } from '@latchkey/shared';
import { AgentError } from '../client/agent-error.js';
import type { AgentClient } from '../client/connect-agent.js';
import type { PublishOptions as SendOptions } from '../client/publications.js';
import { type Io, readAll, writeLine } from './io.js';
import { readLines } from './lines.js';
import { reachAgent, type WhichAgent } from './local-agent.js';

export interface PublishOptions extends WhichAgent {
  readonly topic: string;
  readonly qos: string;
  readonly retain?: boolean | undefined;
  /** Until the broker acknowledged it. */
  readonly wait?: boolean | undefined;
  /** The lines of the standard input when left out. */
  readonly message?: string | undefined;
  /** All of the standard input is one message. */
  readonly whole?: boolean | undefined;
  /** Each message is JSON and is published as CBOR. */
  readonly cbor?: boolean | undefined;
}

const MAX_MESSAGE_BYTES = 256 * 1024;
/** Messages on their way to the agent at once. */
const MAX_UNANSWERED = 1000;

interface Input {
  readonly payload: Buffer;
  /** How messages about it begin. */
  readonly name: string;
}

async function* inputsOf({ message, whole }: PublishOptions, { stdin }: Io): AsyncGenerator<Input> {
  if (message !== undefined) yield { payload: Buffer.from(message), name: '' };
  else if (whole) yield { payload: await readAll(stdin, MAX_MESSAGE_BYTES), name: '' };
  else {
    let number = 0;
    for await (const payload of readLines(stdin, MAX_MESSAGE_BYTES)) {
      number += 1;
      if (payload.length > 0) yield { payload, name: `line ${number} ` };
    }
  }
}

type Convert = (payload: Buffer) => Buffer;

/** What becomes of a payload before it is sent; throws `UsageError`. */
async function converter(cbor: boolean | undefined): Promise<Convert> {
  if (!cbor) return (payload) => payload;
  const { encodeCbor } = await import('../cbor.js');
  return (payload) => {
    try {
      return encodeCbor(JSON.parse(payload.toString('utf8')));
    } catch (error) {
      throw new UsageError(error instanceof RangeError ? error.message : 'it is not JSON');
    }
  };
}

/** Publishes what comes, in order; tells each failure and returns the gravest exit code. */
async function publishAll(
  options: PublishOptions & { readonly topic: TopicName },
  { client, convert, io }: { client: AgentClient; convert: Convert; io: Io },
): Promise<number> {
  const { topic, wait } = options;
  const sending: SendOptions = {
    qos: Number(options.qos) as 0 | 1 | 2,
    isRetained: options.retain === true,
    until: wait ? 'delivered' : 'stored',
  };
  const underway = new Set<Promise<void>>();
  let exitCode: number = EXIT.ok;
  let count = 0;
  const fail = (text: string, code: number): void => {
    writeLine(io.stderr, text);
    exitCode = Math.max(exitCode, code);
  };

  const send = async ({ payload, name }: Input): Promise<void> => {
    try {
      const { isDelivered } = await client.publish(topic, convert(payload), sending);
      if (!wait || isDelivered) return;
      const text = 'not published yet: accepted; the broker has not acknowledged it yet';
      fail(`${name}${text}`, EXIT.unreachable);
    } catch (error) {
      if (error instanceof UsageError) fail(`${name}not published: ${error.message}`, EXIT.usage);
      else if (error instanceof AgentError) {
        const code = error.code === 'unavailable' ? EXIT.unreachable : EXIT.failed;
        fail(`${name}not published: ${error.message}`, code);
      } else throw error;
    }
  };

  for await (const input of inputsOf(options, io)) {
    count += 1;
    const sent = send(input);
    underway.add(sent);
    // Whoever waits gets a rejection; here it only makes room.
    sent.then(
      () => underway.delete(sent),
      () => undefined,
    );
    if (underway.size >= MAX_UNANSWERED) await Promise.race(underway);
    if (io.signal.aborted) break;
  }
  await Promise.all(underway);
  if (count === 0) writeLine(io.stderr, 'nothing published: the input was empty');
  return exitCode;
}

export async function runPublish(options: PublishOptions, io: Io): Promise<number> {
  const topic = parseTopicName(options.topic, 'TOPIC');
  if (!/^[012]$/.test(options.qos)) throw new UsageError('--qos must be 0, 1 or 2');
  if (options.whole && options.message !== undefined) {
    throw new UsageError('--whole is for stdin; leave out --message');
  }
  const convert = await converter(options.cbor);
  const client = await reachAgent(options);
  try {
    return await publishAll({ ...options, topic }, { client, convert, io });
  } finally {
    client.close();
  }
}
