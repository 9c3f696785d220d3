/**
 * Brings what was committed to the disk without keeping the main thread waiting for it.
 *
 * A commit writes its pages to the write-ahead log and leaves them with the system (`synchronous =
 * NORMAL`); `sync` then asks the disk for the log as it is, on another thread. A commit counts after a
 * sync that began after it, exactly as under `FULL`, where SQLite waits in the commit itself.
 *
 * When a sync fails, nobody knows which pages of the log the disk has, and no later sync will tell.
 * Then the log is copied into the database and begun anew, with SQLite's own syncs, before anything
 * else is committed.
 *
 * Units   none.
 * Errors  `UnavailableError` when the disk fails; of `SqliteError` what a commit throws.
 * Source  https://sqlite.org/pragma.html#pragma_synchronous; https://sqlite.org/wal.html;
 *         fsync(2); https://wiki.postgresql.org/wiki/Fsync_Errors
 *
 * @module
 */
import { closeSync, fdatasync as fdatasyncOfSystem, openSync } from 'node:fs';
import { promisify } from 'node:util';
import { UnavailableError } from '@latchkey/shared';
import type { Database } from 'better-sqlite3';

export interface LogSync {
  /** Runs `commit` so that it does not wait for the disk: what it commits counts after `sync`. */
  withoutSync<Result>(commit: () => Result): Result;
  /** Resolves when everything that was committed before the call is on the disk. One call at a time. */
  sync(): Promise<void>;
  /** Throws unless the log can be relied on; to be called before a commit of any kind. */
  requireSound(): void;
  close(): void;
}

export function createLogSync(deps: {
  /** In WAL mode, `synchronous = FULL`. */
  readonly db: Database;
  /** Default: that of the system. */
  readonly fdatasync?: (fd: number) => Promise<void>;
}): LogSync {
  const { db, fdatasync = promisify(fdatasyncOfSystem) } = deps;
  // SQLite keeps the file as long as it has the database open, and locks no part of it, so that
  // another descriptor may come and go.
  let fd: number | undefined;
  let isSound = true;

  return {
    withoutSync: (commit) => {
      db.pragma('synchronous = NORMAL');
      try {
        return commit();
      } finally {
        db.pragma('synchronous = FULL');
      }
    },
    sync: async () => {
      try {
        fd ??= openSync(`${db.name}-wal`, 'r');
        await fdatasync(fd);
      } catch (cause) {
        isSound = false;
        throw new UnavailableError('the disk did not take what was written', { cause });
      }
    },
    requireSound: () => {
      if (isSound) return;
      const [state] = db.pragma('wal_checkpoint(TRUNCATE)') as readonly { busy: number }[];
      if (state?.busy !== 0) throw new UnavailableError('the disk does not take what is written');
      isSound = true;
    },
    close: () => {
      if (fd !== undefined) closeSync(fd);
      fd = undefined;
    },
  };
}
