/**
 * Commits small writes together: one sync to disk for all that arrive in one turn of the event loop,
 * or while the commit before runs.
 *
 * A write is answered only after the commit that it is part of, in the order of the calls. A failure
 * of the storage fails all writes of that commit, and nothing of them remains. When a write throws
 * for a reason of its own, the others are done again without it.
 *
 * Units   `maxWaiting`: number of writes.
 * Errors  `UnavailableError` when too many wait; what a write throws; what the storage throws.
 * Source  https://sqlite.org/atomiccommit.html; DESIGN 9 (I6, I10, I11).
 *
 * @module
 */
import { UnavailableError } from '@latchkey/shared';
import SqliteDatabase, { type Database } from 'better-sqlite3';

export interface GroupCommit {
  /** `write` runs inside a transaction, at once or more than once, and must not wait. */
  run<Result>(write: () => Result): Promise<Result>;
  /** Commits what waits, now. */
  flush(): void;
}

interface Item {
  readonly write: () => unknown;
  readonly resolve: (result: never) => void;
  readonly reject: (error: unknown) => void;
}

const MAX_WAITING = 10_000;

export function createGroupCommit(deps: {
  readonly db: Database;
  /** Default 10,000. */
  readonly maxWaiting?: number;
}): GroupCommit {
  const { db, maxWaiting = MAX_WAITING } = deps;
  let waiting: Item[] = [];
  const together = db.transaction((items: readonly Item[]) => items.map(({ write }) => write()));

  const commit = (items: readonly Item[]): void => {
    let results: readonly unknown[];
    try {
      results = together.immediate(items);
    } catch (error) {
      if (items.length === 1 || error instanceof SqliteDatabase.SqliteError) {
        for (const { reject } of items) reject(error);
        return;
      }
      // One of them is at fault, and everything was rolled back.
      for (const item of items) commit([item]);
      return;
    }
    for (const [index, { resolve }] of items.entries()) resolve(results[index] as never);
  };

  const flush = (): void => {
    if (waiting.length === 0) return;
    const items = waiting;
    waiting = [];
    commit(items);
  };

  return {
    run: (write) =>
      new Promise((resolve, reject) => {
        if (waiting.length >= maxWaiting) {
          reject(new UnavailableError('too many requests wait for the registry'));
          return;
        }
        waiting.push({ write, resolve, reject });
        // After the I/O of this turn, so that all requests that came with it are in.
        if (waiting.length === 1) setImmediate(flush);
      }),
    flush,
  };
}
