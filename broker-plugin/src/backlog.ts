/**
 * Work that concerns many at once, done a few at a time, so that the broker goes on in between.
 *
 * Units   none.
 * Errors  none of its own; the work catches its own.
 * Source  DESIGN 9 (I5, I11).
 *
 * @module
 */
export interface Backlog<Key, Subject> {
  /** What is there already is done once, with the newest subject. */
  add(key: Key, subject: Subject): void;
  stop(): void;
  readonly size: number;
}

/** Weights done at once, which takes a few milliseconds. */
const SLICE = 20;

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** `work` answers with its weight; 1 is a look-up. What is in `first` is done before. */
export function createBacklog<Key, Subject>(
  work: (key: Key, subject: Subject) => number | Promise<number>,
  first?: Pick<Backlog<unknown, unknown>, 'size'>,
): Backlog<Key, Subject> {
  const waiting = new Map<Key, Subject>();
  let isRunning = false;

  const runSlice = async (): Promise<void> => {
    let left = SLICE;
    for (const [key, subject] of waiting) {
      if (left <= 0 || (first?.size ?? 0) > 0) return;
      waiting.delete(key);
      const weight = work(key, subject);
      left -= typeof weight === 'number' ? weight : await weight;
    }
  };

  const run = async (): Promise<void> => {
    isRunning = true;
    while (waiting.size > 0) {
      await nextTurn();
      await runSlice();
    }
    isRunning = false;
  };

  return {
    add: (key, subject) => {
      waiting.set(key, subject);
      if (!isRunning) void run();
    },
    stop: () => waiting.clear(),
    get size() {
      return waiting.size;
    },
  };
}
