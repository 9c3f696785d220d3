/**
 * Keeps the thread that checkpoints the write-ahead log, beside a program that serves requests.
 *
 * Without it SQLite does this work in a commit: every 1000 pages, which a hundred tokens write, one
 * request and all behind it would wait for the disk. A commit still does it when the log has grown to
 * `LOG_BOUND_FRAMES` all the same: because the thread has ended, or because requests leave it no moment.
 *
 * Units   frames of the log, one page (4 KiB) each; milliseconds.
 * Errors  none: a thread that ends is logged and replaced, and nothing depends on it.
 * Source  https://sqlite.org/wal.html (Checkpointing); DESIGN 9 (I11).
 *
 * @module
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { Clock, Logger } from '@latchkey/shared';
import type { Database } from 'better-sqlite3';

/** What the thread is told. */
export interface CheckpointOrder {
  /** Of the registry. */
  readonly path: string;
}

export interface Checkpoints {
  /** Ends the thread; resolves when its connection is closed. */
  stop(): Promise<void>;
}

/** 32 MB. */
const LOG_BOUND_FRAMES = 8000;
const RESTART_AFTER_MS = 10_000;
// The same file from the build and from the source, which is what tests run.
const SCRIPT = new URL('../../../dist/registry/sqlite/checkpoint-worker.js', import.meta.url);

export function startCheckpoints(deps: {
  readonly db: Database;
  readonly path: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Default: the thread of this package. */
  readonly script?: URL;
}): Checkpoints {
  const { db, path, clock, logger, script = SCRIPT } = deps;
  const stopped = new AbortController();
  const workerData: CheckpointOrder = { path };

  const runOnce = async (): Promise<void> => {
    const worker = new Worker(script, { workerData, execArgv: [], name: 'checkpoints' });
    // Keeps no program alive, but for the moment of its own end.
    worker.unref();
    const stop = () => {
      worker.ref();
      worker.postMessage('stop');
    };
    stopped.signal.addEventListener('abort', stop);
    try {
      // An error of the thread rejects this.
      await once(worker, 'exit');
    } catch (err) {
      logger.warn(
        { event: 'registry.checkpoints-failed', err },
        'the thread that checkpoints the registry has ended; commits do it until there is another',
      );
    } finally {
      stopped.signal.removeEventListener('abort', stop);
    }
  };

  const keepRunning = async (): Promise<void> => {
    while (!stopped.signal.aborted) {
      await runOnce();
      await clock.sleep(RESTART_AFTER_MS, stopped.signal).catch(() => undefined);
    }
  };

  db.pragma(`wal_autocheckpoint = ${LOG_BOUND_FRAMES}`);
  const running = keepRunning();
  return {
    stop: () => {
      stopped.abort();
      return running;
    },
  };
}
