/**
 * Bounds the time that the broker works on one decision.
 *
 * Units   milliseconds.
 * Errors  `UnavailableError` when the time is over.
 * Source  DESIGN 9 (I2, I11).
 *
 * @module
 */
import { type Clock, UnavailableError } from '@latchkey/shared';

/** The outcome of `work`, unless it takes longer than `limitMs`. */
export async function withinTime<Value>(
  clock: Clock,
  limitMs: number,
  work: Promise<Value>,
): Promise<Value> {
  const timer = new AbortController();
  const late = clock.sleep(limitMs, timer.signal).then((): never => {
    throw new UnavailableError('the decision takes too long', { detail: 'timeout' });
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    timer.abort();
  }
}
