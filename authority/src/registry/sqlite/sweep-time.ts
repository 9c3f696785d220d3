/**
 * When what is expired may be forgotten: not for a while after the clock jumped.
 *
 * A clock that was set forward by mistake makes expire what is still good by the right time; who has
 * forgotten it accepts it again once the clock is right. After a jump, and after the start, which may
 * follow one, nothing is forgotten until whatever was good then has expired by any clock.
 *
 * Units   NumericDate; milliseconds where a name says so.
 * Errors  none.
 * Source  RFC 7523 3 (item 7).
 *
 * @module
 */
import type { Clock, NumericDate } from '@latchkey/shared';

/** More than a clock that is slewed drifts away in hours. */
const JUMP_MS = 5000;

/** The function returned gives the present time, or `undefined` while nothing may be forgotten. */
export function createSweepTime(clock: Clock, holdMs: number): () => NumericDate | undefined {
  const differenceMs = () => clock.nowMs() - clock.elapsedMs();
  let usualMs = differenceMs();
  let holdsUntilMs = clock.elapsedMs() + holdMs;
  return () => {
    if (Math.abs(differenceMs() - usualMs) > JUMP_MS) {
      usualMs = differenceMs();
      holdsUntilMs = clock.elapsedMs() + holdMs;
    }
    return clock.elapsedMs() < holdsUntilMs ? undefined : clock.now();
  };
}
