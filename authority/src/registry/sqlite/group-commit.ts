/**
 * Commits small writes together: one sync to disk for all that arrive in one turn of the event loop,
 * or while the sync before runs, on another thread.
 *
 * A write is answered only after a sync of the commit that it is part of, in the order of the calls. A
 * failure of the storage fails all writes of that commit. When a write throws for a reason of its own,
 * the others are done again without it.
 *
 * Units   `maxWaiting`: number of writes.
 * Errors  `UnavailableError` when too many wait, or when the sync fails: then what was written may
 *         remain, unanswered; what a write throws; what the storage throws, and nothing remains.
 * Source  https://sqlite.org/atomiccommit.html; DESIGN 9 (I6, I10, I11).
 *
 * @module
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { UnavailableError } from '@latchkey/shared';
import SqliteDatabase, { type Database } from 'better-sqlite3';
import type { LogSync } from './log-sync.js';

export interface GroupCommit {
  /** `write` runs inside a transaction, at once or more than once, and must not wait. */
  run<Result>(write: () => Result): Promise<Result>;
  /** Resolves when nothing waits any more. */
  drained(): Promise<void>;
}

interface Item {
  readonly write: () => unknown;
  readonly resolve: (result: never) => void;
  readonly reject: (error: unknown) => void;
}

interface Committed {
  readonly item: Item;
  readonly result: unknown;
}

const MAX_WAITING = 10_000;

export function createGroupCommit(deps: {
  readonly db: Database;
  readonly logSync: LogSync;
  /** Default 10,000. */
  readonly maxWaiting?: number;
}): GroupCommit {
  const { db, logSync, maxWaiting = MAX_WAITING } = deps;
  let waiting: Item[] = [];
  let running: Promise<void> | undefined;
  const together = db.transaction((items: readonly Item[]) =>
    items.map((item): Committed => ({ item, result: item.write() })),
  );

  /** Rejects what cannot be committed; returns the rest. */
  const commit = (items: readonly Item[]): readonly Committed[] => {
    try {
      logSync.requireSound();
      return logSync.withoutSync(() => together.immediate(items));
    } catch (error) {
      if (items.length > 1 && !isOfStorage(error)) {
        // One of them is at fault, and everything was rolled back.
        return items.flatMap((item) => commit([item]));
      }
      for (const { reject } of items) reject(error);
      return [];
    }
  };

  const commitAll = async (): Promise<void> => {
    // After the I/O of this turn, so that all requests that came with it are in.
    await nextTurn();
    while (waiting.length > 0) {
      const items = waiting;
      waiting = [];
      const committed = commit(items);
      if (committed.length > 0) await answer(committed, logSync);
      await nextTurn();
    }
    running = undefined;
  };

  return {
    run: (write) =>
      new Promise((resolve, reject) => {
        if (waiting.length >= maxWaiting) {
          reject(new UnavailableError('too many requests wait for the registry'));
          return;
        }
        waiting.push({ write, resolve, reject });
        running ??= commitAll();
      }),
    drained: async () => {
      await running;
    },
  };
}

const isOfStorage = (error: unknown): boolean =>
  error instanceof SqliteDatabase.SqliteError || error instanceof UnavailableError;

async function answer(committed: readonly Committed[], logSync: LogSync): Promise<void> {
  try {
    await logSync.sync();
  } catch (error) {
    for (const { item } of committed) item.reject(error);
    return;
  }
  for (const { item, result } of committed) item.resolve(result as never);
}
