/**
 * A clock that stands still until a test moves it, and that can say when somebody sleeps on it.
 *
 * @module
 */
import type { Clock } from '@latchkey/shared';

export interface DrivenClock extends Clock {
  /** Lets time pass and wakes who slept until then, in order, letting each run in between. */
  advance(ms: number): Promise<void>;
  /** Sets the clock, as `date -s` does: nobody's sleep becomes longer or shorter. */
  set(seconds: number): void;
  /** Lets time pass while the machine is suspended: nobody's sleep goes on. */
  suspend(ms: number): void;
  /** Resolves when somebody sleeps for a time in this range, or does already. */
  untilSleeping(leastMs: number, mostMs?: number): Promise<void>;
}

interface Sleeper {
  readonly wakesAtMs: number;
  readonly ms: number;
  readonly wake: () => void;
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
/** The machine started long before the test. */
const STARTED_MS = 1e8;

export function createDrivenClock(startSeconds = 1_760_000_000): DrivenClock {
  let elapsedMs = 0;
  let suspendedMs = 0;
  /** What the clock shows when nothing has elapsed. */
  let zeroMs = startSeconds * 1000;
  const sleepers = new Set<Sleeper>();
  const watchers = new Set<() => void>();
  return {
    now: () => Math.floor((zeroMs + elapsedMs) / 1000),
    nowMs: () => zeroMs + elapsedMs,
    elapsedMs: () => elapsedMs,
    uptimeMs: () => STARTED_MS + elapsedMs + suspendedMs,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason);
        const sleeper = { wakesAtMs: elapsedMs + ms, ms, wake: () => end(resolve) };
        const abort = () => end(() => reject(signal?.reason));
        const end = (settle: () => void) => {
          sleepers.delete(sleeper);
          signal?.removeEventListener('abort', abort);
          settle();
        };
        signal?.addEventListener('abort', abort);
        sleepers.add(sleeper);
        for (const watch of watchers) watch();
      }),
    advance: async (ms) => {
      const untilMs = elapsedMs + ms;
      for (;;) {
        await settled();
        const due = [...sleepers]
          .filter(({ wakesAtMs }) => wakesAtMs <= untilMs)
          .sort((a, b) => a.wakesAtMs - b.wakesAtMs)[0];
        if (due === undefined) break;
        elapsedMs = Math.max(elapsedMs, due.wakesAtMs);
        due.wake();
      }
      elapsedMs = untilMs;
      await settled();
    },
    set: (seconds) => {
      zeroMs = seconds * 1000 - elapsedMs;
    },
    suspend: (ms) => {
      suspendedMs += ms;
      zeroMs += ms;
    },
    untilSleeping: (leastMs, mostMs = leastMs) =>
      new Promise((resolve) => {
        const watch = () => {
          if (![...sleepers].some(({ ms }) => leastMs <= ms && ms <= mostMs)) return;
          watchers.delete(watch);
          resolve();
        };
        watchers.add(watch);
        watch();
      }),
  };
}
