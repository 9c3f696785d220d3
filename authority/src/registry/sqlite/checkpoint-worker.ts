/**
 * The thread that copies what was committed from the write-ahead log into the database, with a
 * connection of its own, so that no request waits for it.
 *
 * It never keeps a writer waiting (`PASSIVE`), and it looks (`NOOP`) before it copies. The log begins
 * anew with the first commit that finds everything copied; once the log is long, the thread copies
 * again and again to get there.
 *
 * Units   frames of the log, one page each; milliseconds.
 * Errors  whatever SQLite cannot do ends the thread; `checkpoints.ts` starts another.
 * Source  https://sqlite.org/pragma.html#pragma_wal_checkpoint; https://sqlite.org/wal.html
 *
 * @module
 */
import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '@latchkey/shared';
import SqliteDatabase from 'better-sqlite3';
import type { CheckpointOrder } from './checkpoints.js';

const LOOK_EVERY_MS = 50;
/** 4 MB: more at a time makes the disk busy for longer, less copies the same page more often. */
const COPY_FROM_FRAMES = 1000;
const LONG_FRAMES = 4000;
/** Rounds by which a long log is brought to its end, while new commits come. */
const MAX_ROUNDS = 8;

interface LogState {
  readonly log: number;
  readonly checkpointed: number;
}

const { path } = workerData as CheckpointOrder;
const db = new SqliteDatabase(path, { fileMustExist: true });
db.pragma('synchronous = FULL');
const checkpoint = (mode: 'NOOP' | 'PASSIVE'): LogState =>
  (db.pragma(`wal_checkpoint(${mode})`) as readonly LogState[])[0] as LogState;

function copy(): void {
  let { log, checkpointed } = checkpoint('NOOP');
  if (log - checkpointed < COPY_FROM_FRAMES && (log < LONG_FRAMES || log === checkpointed)) return;
  for (let round = 0; round < MAX_ROUNDS && log > checkpointed; round += 1) {
    ({ log, checkpointed } = checkpoint('PASSIVE'));
    if (log < LONG_FRAMES) return;
  }
}

const stopped = new AbortController();
parentPort?.once('message', () => stopped.abort());
while (!stopped.signal.aborted) {
  await systemClock.sleep(LOOK_EVERY_MS, stopped.signal).catch(() => undefined);
  copy();
}
db.close();
