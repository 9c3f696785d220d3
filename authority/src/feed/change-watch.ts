/**
 * Wakes who waits for a change of the registry, whichever process made it.
 *
 * Own changes ring at once. Those of other processes are looked for, but only while somebody waits.
 *
 * Units   milliseconds where a name says so.
 * Errors  `UnavailableError` when too many wait already.
 * Source  DESIGN 4 (Trust feed).
 *
 * @module
 */
import { type Clock, UnavailableError } from '@latchkey/shared';
import type { FeedMark, FeedStore } from '../registry/feed-store.js';

/** How often changes of other processes are looked for. */
const LOOK_EVERY_MS = 50;
/** Least time from one call to the next: changes that come together are told together. */
const REST_MS = 25;

export interface ChangeWatch {
  /** Resolves when the registry is not where `seen` says any more, after the time, or on abort. */
  wait(seen: FeedMark, ms: number, signal: AbortSignal): Promise<void>;
  /** Lets everybody go, now and from now on. */
  close(): void;
}

interface Waiter {
  readonly seen: FeedMark;
  readonly wake: () => void;
}

export function createChangeWatch(deps: {
  readonly registry: Pick<FeedStore, 'feedMark' | 'onFeedChange'>;
  readonly clock: Clock;
  readonly maxWaiting: number;
}): ChangeWatch {
  const { registry, clock, maxWaiting } = deps;
  const waiters = new Set<Waiter>();
  let isLooking = false;
  let isClosed = false;

  const wakeAll = () => {
    for (const { wake } of waiters) wake();
  };

  const look = async (): Promise<void> => {
    try {
      const { feedId, sequence } = await registry.feedMark();
      for (const { seen, wake } of waiters) {
        if (seen.feedId !== feedId || seen.sequence !== sequence) wake();
      }
    } catch {
      // They read for themselves and learn what is wrong.
      wakeAll();
    }
  };

  const keepLooking = async (): Promise<void> => {
    if (isLooking) return;
    isLooking = true;
    while (waiters.size > 0) {
      await clock.sleep(LOOK_EVERY_MS).catch(() => undefined);
      await look();
    }
    isLooking = false;
  };

  let mayLookAtMs = 0;
  let isDue = false;

  /** At once, unless it was just done. */
  const lookSoon = async (): Promise<void> => {
    if (isDue || waiters.size === 0) return;
    isDue = true;
    const restMs = mayLookAtMs - clock.nowMs();
    // A clock that was set back must not make anybody wait.
    if (restMs > 0 && restMs <= REST_MS) await clock.sleep(restMs).catch(() => undefined);
    isDue = false;
    mayLookAtMs = clock.nowMs() + REST_MS;
    await look();
  };

  const stopListening = registry.onFeedChange(() => void lookSoon());

  return {
    wait: async (seen, ms, signal) => {
      if (isClosed || signal.aborted) return;
      if (waiters.size >= maxWaiting) {
        throw new UnavailableError('too many readers are waiting', {
          detail: `${maxWaiting} are waiting`,
        });
      }
      const awake = new AbortController();
      const waiter = { seen, wake: () => awake.abort() };
      waiters.add(waiter);
      signal.addEventListener('abort', waiter.wake);
      void keepLooking();
      await clock.sleep(ms, awake.signal).catch(() => undefined);
      signal.removeEventListener('abort', waiter.wake);
      waiters.delete(waiter);
    },
    close: () => {
      stopListening();
      isClosed = true;
      wakeAll();
    },
  };
}
