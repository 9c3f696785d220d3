/**
 * Messages that wait for the broker's acknowledgement: one timer and one look at the close for all of them,
 * so that a message leaves nothing behind on a connection that lasts for months.
 *
 * Units   milliseconds.
 * Errors  what `failure` makes of the close.
 * Source  MQTT 3.1.1 4.4; invariant I11.
 *
 * @module
 */
import type { Clock } from '@latchkey/shared';

export interface Acknowledgements<Failure> {
  /** Settles by what `send` calls back, or rejects by `fail`. */
  wait(send: (acknowledged: () => void) => void, failure: (end: Failure) => Error): Promise<void>;
  /** No more answers will come. */
  fail(end: Failure): void;
}

interface Unanswered<Failure> {
  readonly sentAtMs: number;
  readonly fail: (end: Failure) => void;
}

export function createAcknowledgements<Failure>(deps: {
  readonly clock: Clock;
  readonly timeoutMs: number;
  /** The oldest message has waited that long. */
  readonly onTimeout: () => void;
}): Acknowledgements<Failure> {
  const { clock, timeoutMs, onTimeout } = deps;
  /** The oldest first. */
  const unanswered = new Set<Unanswered<Failure>>();
  const over = new AbortController();
  let isWatching = false;

  const watch = async (): Promise<void> => {
    if (isWatching) return;
    isWatching = true;
    for (let [oldest] = unanswered; oldest !== undefined; [oldest] = unanswered) {
      const leftMs = oldest.sentAtMs + timeoutMs - clock.elapsedMs();
      if (leftMs > 0) await clock.sleep(leftMs, over.signal).catch(() => undefined);
      if (over.signal.aborted) return;
      if (unanswered.has(oldest) && oldest.sentAtMs + timeoutMs <= clock.elapsedMs()) {
        onTimeout();
        return;
      }
    }
    isWatching = false;
  };

  return {
    wait: (send, failure) =>
      new Promise((resolve, reject) => {
        const entry = {
          sentAtMs: clock.elapsedMs(),
          fail: (end: Failure) => reject(failure(end)),
        };
        unanswered.add(entry);
        send(() => {
          unanswered.delete(entry);
          resolve();
        });
        void watch();
      }),
    fail: (end) => {
      over.abort();
      for (const { fail } of unanswered) fail(end);
      unanswered.clear();
    },
  };
}
