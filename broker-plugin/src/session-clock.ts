/**
 * The clock by which sessions end: behind the machine's by the grace that a late renewal has.
 *
 * Only what is connected is judged by it, so that sessions live until `exp` and the grace, to the
 * second. Tokens are judged by the machine's clock: from `exp` on none opens or renews a session.
 *
 * Units   seconds and milliseconds as the names say.
 * Errors  `RangeError` for a grace out of bounds.
 * Source  DESIGN 4 (renewal in the session), 9 (I5); RFC 9431 4.
 *
 * @module
 */
import type { Clock } from '@latchkey/shared';

export const MAX_GRACE_SECONDS = 300;

export function createSessionClock(clock: Clock, graceSeconds: number): Clock {
  const isInBounds = graceSeconds >= 0 && graceSeconds <= MAX_GRACE_SECONDS;
  if (!Number.isInteger(graceSeconds) || !isInBounds) {
    throw new RangeError(`graceSeconds must be an integer from 0 to ${MAX_GRACE_SECONDS}`);
  }
  if (graceSeconds === 0) return clock;
  return {
    now: () => clock.now() - graceSeconds,
    nowMs: () => clock.nowMs() - graceSeconds * 1000,
    elapsedMs: () => clock.elapsedMs(),
    uptimeMs: () => clock.uptimeMs(),
    sleep: (ms, signal) => clock.sleep(ms, signal),
  };
}
