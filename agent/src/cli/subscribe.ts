/**
 * `latchkey-agent subscribe`: prints the messages that the running agent receives.
 *
 * Units   seconds.
 * Errors  exit code 1 when it was refused or fewer than `--count` came in time, 3 when no agent runs.
 * Source  `client/connect-agent.ts`.
 *
 * @module
 */
import { once } from 'node:events';
import { EXIT, parseDuration, parseTopicFilter, UsageError } from '@latchkey/shared';
import { AgentError } from '../client/agent-error.js';
import type { ReceivedMessage, Subscription } from '../client/subscription.js';
import { type Io, writeLine } from './io.js';
import { reachAgent, type WhichAgent } from './local-agent.js';

export interface SubscribeOptions extends WhichAgent {
  readonly filters: readonly string[];
  readonly qos: string;
  /** One JSON object for each message. */
  readonly json?: boolean | undefined;
  /** Payloads are CBOR and are printed as JSON. */
  readonly cbor?: boolean | undefined;
  /** Ends after so many messages. */
  readonly count?: string | undefined;
  /** Ends after so many seconds. */
  readonly timeout?: string | undefined;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function payloadOf(payload: Buffer): object {
  try {
    return { payload: utf8.decode(payload) };
  } catch {
    return { payload_base64: payload.toString('base64') };
  }
}

type Format = (message: ReceivedMessage) => string | Buffer;

async function formatter({ json, cbor }: SubscribeOptions, io: Io): Promise<Format> {
  const decode = cbor ? (await import('../cbor.js')).decodeCbor : undefined;
  const decodedOf = (message: ReceivedMessage): { readonly value: unknown } | undefined => {
    if (decode === undefined) return undefined;
    try {
      return { value: decode(message.payload) };
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      writeLine(io.stderr, `a message on ${message.topic} is not CBOR: ${why}`);
      return undefined;
    }
  };
  return (message) => {
    const { topic, qos, isRetained: retain, payload } = message;
    const decoded = decodedOf(message);
    if (json) {
      const content = decoded === undefined ? payloadOf(payload) : { payload: decoded.value };
      return JSON.stringify({ topic, qos, retain, ...content });
    }
    return decoded === undefined ? payload : JSON.stringify(decoded.value);
  };
}

function parseCount(text: string): number {
  if (!/^[1-9][0-9]{0,8}$/.test(text)) throw new UsageError('--count must be a number from 1 on');
  return Number(text);
}

/** Prints until enough came, or the subscription was closed; returns how many came. */
async function print(
  subscription: Subscription,
  { format, most, io }: { format: Format; most: number; io: Io },
): Promise<number> {
  let count = 0;
  let missed = 0;
  for await (const message of subscription) {
    const line = Buffer.concat([Buffer.from(format(message)), Buffer.from('\n')]);
    if (!io.stdout.write(line)) {
      // A reader that went away will never drain.
      await Promise.race([once(io.stdout, 'drain'), once(io.stdout, 'close')]);
    }
    count += 1;
    if (subscription.missed > missed) {
      writeLine(io.stderr, `${subscription.missed - missed} messages missed: read too slowly`);
      missed = subscription.missed;
    }
    if (count >= most) break;
  }
  return count;
}

export async function runSubscribe(options: SubscribeOptions, io: Io): Promise<number> {
  const filters = options.filters.map((filter) => parseTopicFilter(filter, 'FILTER'));
  if (!/^[012]$/.test(options.qos)) throw new UsageError('--qos must be 0, 1 or 2');
  const most = options.count === undefined ? undefined : parseCount(options.count);
  const seconds =
    options.timeout === undefined ? undefined : parseDuration(options.timeout, '--timeout');
  const format = await formatter(options, io);
  const client = await reachAgent(options);
  const over = new AbortController();
  const stop = (): void => over.abort();
  io.stdout.once('error', stop);
  io.stdout.once('close', stop);
  if (seconds !== undefined)
    io.clock.sleep(seconds * 1000, over.signal).then(stop, () => undefined);
  try {
    const subscription = client.subscribe(filters, {
      qos: Number(options.qos) as 0 | 1 | 2,
      signal: AbortSignal.any([io.signal, over.signal]),
    });
    const count = await print(subscription, {
      ...{ format, io },
      most: most ?? Number.POSITIVE_INFINITY,
    });
    return most === undefined || count >= most || io.signal.aborted ? EXIT.ok : EXIT.failed;
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    writeLine(io.stderr, `not subscribed: ${error.message}`);
    return error.code === 'unavailable' ? EXIT.unreachable : EXIT.failed;
  } finally {
    over.abort();
    client.close();
  }
}
