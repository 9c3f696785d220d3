/**
 * Bounds the time that the broker works on one decision.
 *
 * Nearly all decisions take a millisecond, so none has a timer of its own: all have the same limit,
 * so that they come due in the order in which they began, and one sleeper watches the oldest.
 *
 * Units   milliseconds.
 * Errors  `UnavailableError` when the time is over.
 * Source  DESIGN 9 (I2, I11).
 *
 * @module
 */
import { type Clock, UnavailableError } from '@latchkey/shared';

/** The outcome of `work`, unless it takes longer than the limit. */
export type WithinTime = <Value>(work: Promise<Value>) => Promise<Value>;

interface Pending {
  readonly dueAtMs: number;
  readonly reject: (error: Error) => void;
}

/** `signal`: nothing is watched any more; whoever aborts it ends what is under way. */
export function createTimeLimit(deps: {
  readonly clock: Clock;
  readonly limitMs: number;
  readonly signal: AbortSignal;
}): WithinTime {
  const { clock, limitMs, signal } = deps;
  /** In the order in which they come due. */
  const pendings = new Set<Pending>();
  let isWatching = false;

  const expire = (pending: Pending): void => {
    pendings.delete(pending);
    pending.reject(new UnavailableError('the decision takes too long', { detail: 'timeout' }));
  };

  const watch = async (): Promise<void> => {
    isWatching = true;
    try {
      for (const oldest of pendings) {
        // Never longer than the limit: the clock may have been set back meanwhile.
        const leftMs = Math.min(limitMs, Math.max(0, oldest.dueAtMs - clock.nowMs()));
        await clock.sleep(leftMs, signal);
        if (pendings.has(oldest)) expire(oldest);
      }
    } catch {
      pendings.clear(); // closed
    } finally {
      isWatching = false;
    }
  };

  return (work) =>
    new Promise((resolve, reject) => {
      const pending: Pending = { dueAtMs: clock.nowMs() + limitMs, reject };
      pendings.add(pending);
      work.then(
        (value) => {
          pendings.delete(pending);
          resolve(value);
        },
        (error: unknown) => {
          pendings.delete(pending);
          reject(error);
        },
      );
      if (!isWatching) void watch();
    });
}
