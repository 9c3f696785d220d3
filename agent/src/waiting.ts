/**
 * Waiting that ends when the program does.
 *
 * Units   NumericDate, milliseconds.
 * Errors  rejects with the signal's reason.
 * Source  STYLE 2.3 (program lifetime).
 *
 * @module
 */
import type { Clock, NumericDate } from '@latchkey/shared';

/** So that a clock that was set, or a machine that was suspended, is noticed within 5 s. */
const LONGEST_SLEEP_MS = 2000;

/** Resolves at the instant `at` of the clock, also if the clock is set meanwhile. */
export async function sleepUntil(
  clock: Clock,
  at: NumericDate,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    const leftMs = at * 1000 - clock.nowMs();
    if (leftMs <= 0) return;
    await clock.sleep(Math.min(leftMs, LONGEST_SLEEP_MS), signal);
  }
}

/** The result of `promise`, or the signal's reason when it aborts first. */
export function orAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
