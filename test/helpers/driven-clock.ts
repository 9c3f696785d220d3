/**
 * A clock that stands still until a test moves it, and that can say when somebody sleeps on it.
 *
 * @module
 */
import type { Clock } from '@latchkey/shared';

export interface DrivenClock extends Clock {
  /** Moves the clock and wakes who slept until then, in order, letting each run in between. */
  advance(ms: number): Promise<void>;
  /** Sets the clock without waking anybody, as `date -s` does. */
  set(seconds: number): void;
  /** Resolves when somebody sleeps for a time in this range, or does already. */
  untilSleeping(leastMs: number, mostMs?: number): Promise<void>;
}

interface Sleeper {
  readonly wakesAtMs: number;
  readonly ms: number;
  readonly wake: () => void;
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export function createDrivenClock(startSeconds = 1_760_000_000): DrivenClock {
  let nowMs = startSeconds * 1000;
  /** What was set, and so did not pass. */
  let setMs = nowMs;
  const sleepers = new Set<Sleeper>();
  const watchers = new Set<() => void>();
  return {
    now: () => Math.floor(nowMs / 1000),
    nowMs: () => nowMs,
    elapsedMs: () => nowMs - setMs,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason);
        const sleeper = { wakesAtMs: nowMs + ms, ms, wake: () => end(resolve) };
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
      const untilMs = nowMs + ms;
      for (;;) {
        await settled();
        const due = [...sleepers]
          .filter(({ wakesAtMs }) => wakesAtMs <= untilMs)
          .sort((a, b) => a.wakesAtMs - b.wakesAtMs)[0];
        if (due === undefined) break;
        nowMs = Math.max(nowMs, due.wakesAtMs);
        due.wake();
      }
      nowMs = untilMs;
      await settled();
    },
    set: (seconds) => {
      setMs += seconds * 1000 - nowMs;
      nowMs = seconds * 1000;
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
