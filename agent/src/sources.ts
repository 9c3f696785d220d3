/**
 * Sources: reads a value again and again, publishes it when it changed enough, and publishes when it
 * passes a limit.
 *
 * Units   seconds, milliseconds; `at` in the payload is a NumericDate.
 * Errors  none leave: a failed or dropped reading is counted and the next one follows. An outage is
 *         logged once, and once more when it is over.
 * Source  DESIGN 1 (one file of config).
 *
 * @module
 */
import type { ClientId, Clock, Logger } from '@latchkey/shared';
import type { LimitConfig, SourceConfig } from './config.js';
import { OutboxFullError, PublishRefusedError } from './mqtt-errors.js';
import { encodePayload } from './payload.js';
import type { Publisher } from './publisher.js';
import { hasChanged, isAboveLimit, type Reading, readText } from './reading.js';
import { readInput } from './source-input.js';
import type { StateKeeper } from './state.js';
import { fillName } from './topic-templates.js';

export interface SourceDeps {
  readonly clientId: ClientId;
  readonly publisher: Publisher;
  readonly state: StateKeeper;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Uniform in [0, 1); spreads the first readings. */
  readonly random: () => number;
  readonly workingDir: string;
  readonly environment: Readonly<Record<string, string>>;
}

/** A fleet that gets its power back at once must not read, and send, in step. */
const MAX_START_DELAY_MS = 10_000;

type Target = Pick<SourceConfig, 'topic' | 'qos' | 'isRetained'>;

/** Publishes; answers whether the message was taken. A refused one was, and is not to be sent again. */
async function hasTaken(
  { topic, qos, isRetained }: Target,
  payload: Buffer,
  { clientId, publisher }: SourceDeps,
): Promise<boolean> {
  try {
    await publisher.publish({ topic: fillName(topic, clientId), qos, isRetained, payload });
    return true;
  } catch (error) {
    if (error instanceof PublishRefusedError) return true;
    if (error instanceof OutboxFullError) return false;
    throw error;
  }
}

/** Tells the limits that the number passed since the reading before. */
function createLimitWatch(limits: readonly LimitConfig[], deps: SourceDeps) {
  const wasAbove = new Map<LimitConfig, boolean>();
  return async (value: number): Promise<void> => {
    for (const limit of limits) {
      const before = wasAbove.get(limit);
      const isAbove = isAboveLimit(limit, before, value);
      if (isAbove === before) continue;
      const text = isAbove ? limit.payloadAbove : limit.payloadBelow;
      if (await hasTaken(limit, Buffer.from(text), deps)) wasAbove.set(limit, isAbove);
    }
  };
}

/** Publishes the readings that are worth it. */
function createReadingSink(source: SourceConfig, deps: SourceDeps) {
  const { state, clock } = deps;
  const { changedBy, atLeastEverySeconds = Number.POSITIVE_INFINITY, unit, format } = source;
  let published: { readonly reading: Reading; readonly atMs: number } | undefined;

  const isDue = (reading: Reading): boolean =>
    changedBy === undefined ||
    published === undefined ||
    clock.elapsedMs() - published.atMs >= atLeastEverySeconds * 1000 ||
    hasChanged(published.reading, reading, changedBy);

  return async (reading: Reading): Promise<void> => {
    if (!isDue(reading)) {
      state.count('unchangedReadings');
      return;
    }
    const { value } = reading;
    const payload = encodePayload({ value, unit, at: clock.now() }, format);
    if (await hasTaken(source, payload, deps)) published = { reading, atMs: clock.elapsedMs() };
    else state.count('droppedReadings');
  };
}

/** Counts each failure and logs the first of a row. */
function createOutageLog(name: string, { state, logger }: SourceDeps) {
  let hasFailed = false;
  return {
    failed: (detail: string): void => {
      state.count('failedReadings');
      state.noteError(`source ${name}: ${detail}`);
      const level = hasFailed ? 'debug' : 'warn';
      logger[level]({ event: 'source.failed', name, detail }, 'reading failed');
      hasFailed = true;
    },
    succeeded: (): void => {
      if (hasFailed) logger.info({ event: 'source.recovered', name }, 'reading succeeds again');
      hasFailed = false;
    },
  };
}

/** Runs one source until the signal aborts. */
export async function runSource(
  source: SourceConfig,
  deps: SourceDeps,
  signal: AbortSignal,
): Promise<void> {
  const { clock, random, workingDir, environment } = deps;
  const everyMs = source.everySeconds * 1000;
  const outage = createOutageLog(source.name, deps);
  const watchLimits = createLimitWatch(source.limits, deps);
  const publish = createReadingSink(source, deps);

  const take = async (): Promise<void> => {
    const input = await readInput(source.input, { clock, workingDir, environment, signal });
    if (signal.aborted) return;
    if ('problem' in input) return outage.failed(input.problem);
    const reading = readText(input.text, source);
    if (typeof reading === 'string') return outage.failed(reading);
    if (source.limits.length > 0 && reading.number === undefined) {
      return outage.failed('there is no number for the limits');
    }
    outage.succeeded();
    await publish(reading);
    if (reading.number !== undefined) await watchLimits(reading.number);
  };
  const sleep = async (ms: number): Promise<void> => {
    if (ms > 0) await clock.sleep(ms, signal).catch(() => undefined);
  };

  await sleep(random() * Math.min(everyMs, MAX_START_DELAY_MS));
  while (!signal.aborted) {
    const startedMs = clock.elapsedMs();
    await take();
    // A reading that took longer than the interval makes the next ones late, and never two at once.
    await sleep(everyMs - ((clock.elapsedMs() - startedMs) % everyMs));
  }
}
