/**
 * Rotates the key when it is old enough, and brings a rotation to its end that a power cut left.
 *
 * Units   days, milliseconds, NumericDate.
 * Errors  none: what fails is logged and tried again, ever slower.
 * Source  DESIGN 7; `key-rotation.ts`.
 *
 * @module
 */
import { type Clock, createBackoff, type Logger, OPERATOR_BACKOFF } from '@latchkey/shared';
import type { Identity } from './identity.js';

const DAY_SECONDS = 86_400;
/** How often the age is looked at. Up to so long a rotation that is due waits, so that a fleet spreads. */
const LOOK_EVERY_MS = 3_600_000;

/** Whether the key is older than `days`; 0: never. One of unknown age is old. */
export function isRotationDue({ keySince = 0 }: Identity, days: number, now: number): boolean {
  return days > 0 && now - keySince >= days * DAY_SECONDS;
}

export async function runKeySchedule(
  deps: {
    readonly readIdentity: () => Promise<Identity | undefined>;
    readonly isUnderWay: () => Promise<boolean>;
    readonly rotate: () => Promise<unknown>;
    /** 0: only what was begun is brought to its end. */
    readonly days: number;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly random: () => number;
  },
  signal: AbortSignal,
): Promise<void> {
  const { readIdentity, isUnderWay, rotate, days, clock, logger, random } = deps;
  const backoff = createBackoff(OPERATOR_BACKOFF, random);
  const isWanted = async (): Promise<boolean> => {
    if (await isUnderWay()) return true;
    const identity = await readIdentity();
    return identity !== undefined && isRotationDue(identity, days, clock.now());
  };
  const sleep = (ms: number): Promise<void> => clock.sleep(ms, signal).catch(() => undefined);

  // What was begun goes on soon; a key that grew old while the device was off waits a little.
  if (days > 0 && !(await isUnderWay().catch(() => false))) await sleep(random() * LOOK_EVERY_MS);
  while (!signal.aborted) {
    try {
      if (await isWanted()) await rotate();
      if (days === 0) return;
      backoff.reset();
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      logger.warn({ event: 'key-rotation.failed', detail }, 'the key is not rotated yet');
      await sleep(backoff.nextMs());
      continue;
    }
    await sleep(LOOK_EVERY_MS);
  }
}
