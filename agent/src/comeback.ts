/**
 * How long the device waits before it tries again, also after a restart, so that a fleet that lost its
 * broker, or its power, at one moment does not come back at one moment.
 *
 * Units   milliseconds.
 * Errors  `UsageError` when others may read the file; one that cannot be understood counts as none.
 * Source  DESIGN 8 (full jitter, 1 s to 2 min; refused: up to 1 h); STANDARDS 4.4.
 *
 * @module
 */
import {
  type BackoffRange,
  backoffLimitMs,
  backoffMs,
  type Clock,
  type Logger,
  NETWORK_BACKOFF,
  OPERATOR_BACKOFF,
} from '@latchkey/shared';
import * as v from 'valibot';
import { readPrivateFile, stateFile, writePrivateFile } from './private-file.js';

export type Pace = 'network' | 'operator';

export interface Comeback {
  /** Before the first try of this run; 0 unless the machine has just started, or a run failed before. */
  firstWaitMs(): number;
  /** Before the next try. */
  nextWaitMs(pace: Pace): number;
  /** What was tried has succeeded. */
  reset(): void;
  /** Resolves when all of it is on disk, so that the next run does not read what is older. */
  written(): Promise<void>;
}

const RANGES: Readonly<Record<Pace, BackoffRange>> = {
  network: NETWORK_BACKOFF,
  operator: OPERATOR_BACKOFF,
};
/** A machine that has run longer did not start together with its fleet. */
const JUST_STARTED_MS = 300_000;
/** A short failure is not worth a write to a memory card. */
const REMEMBERED_FROM = 3;

type Attempts = Readonly<Record<Pace, number>>;
const NONE: Attempts = { network: 0, operator: 0 };

const count = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(40));
const fileSchema = v.object({ network: count, operator: count });

function parseFile(text: string | undefined): Attempts {
  try {
    return v.parse(fileSchema, JSON.parse(text ?? ''));
  } catch {
    return NONE;
  }
}

/** From here on all waits have one limit, and more attempts need not be told apart. */
const saturated = (range: BackoffRange): number => Math.ceil(Math.log2(range.capMs / range.baseMs));

export async function openComeback(deps: {
  readonly stateDir: string;
  readonly startSpreadSeconds: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: () => number;
}): Promise<Comeback> {
  const { stateDir, startSpreadSeconds, clock, logger, random } = deps;
  const path = stateFile(stateDir, 'comeback');
  const held = parseFile(await readPrivateFile(path));
  let attempts = held;
  let isFirst = true;
  let writtenText = JSON.stringify(held);
  let lastWrite: Promise<void> = Promise.resolve();

  const remember = (): void => {
    const worth = (n: number): number => (n < REMEMBERED_FROM ? 0 : n);
    const { network, operator } = attempts;
    const text = JSON.stringify({ network: worth(network), operator });
    if (text === writtenText) return;
    writtenText = text;
    lastWrite = lastWrite
      .then(() => writePrivateFile(path, `${text}\n`))
      .catch((error: unknown) => {
        const detail = error instanceof Error ? error.message : String(error);
        logger.warn({ event: 'comeback.not-kept', detail }, 'the waiting time cannot be kept');
      });
  };

  return {
    firstWaitMs: () => {
      if (!isFirst) return 0; // another configuration, not another start
      isFirst = false;
      const before = (pace: Pace): number =>
        held[pace] === 0 ? 0 : backoffLimitMs(RANGES[pace], held[pace] - 1);
      const isJustStarted = clock.uptimeMs() < JUST_STARTED_MS;
      // An operator who has mended what was refused starts the agent anew, and is not kept waiting.
      const refusedMs = Math.min(before('operator'), NETWORK_BACKOFF.capMs);
      const spreadMs = isJustStarted ? startSpreadSeconds * 1000 : 0;
      return Math.floor(random() * Math.max(before('network'), refusedMs, spreadMs));
    },
    nextWaitMs: (pace) => {
      const waitMs = backoffMs(RANGES[pace], attempts[pace], random());
      const next = Math.min(attempts[pace] + 1, saturated(RANGES[pace]) + 1);
      attempts = { ...attempts, [pace]: next };
      remember();
      return waitMs;
    },
    reset: () => {
      attempts = NONE;
      remember();
    },
    written: () => lastWrite,
  };
}
