/**
 * One agent for each state folder: two would send each message twice, and overwrite each other's files.
 *
 * The lock is a transaction of SQLite that stays open. The kernel ends it with the process, also after
 * SIGKILL, so that there is nothing stale to judge, and it holds between containers that share a volume.
 * Nothing is ever written to the file.
 *
 * Units   none.
 * Errors  `UsageError` when another process has the lock, with its process id where the kernel tells it.
 * Source  https://sqlite.org/lockingv3.html; `PENDING_BYTE`, https://sqlite.org/fileformat2.html 1.4;
 *         proc_locks(5).
 *
 * @module
 */
import { closeSync, existsSync, openSync, readFileSync, statSync } from 'node:fs';
import { UsageError } from '@latchkey/shared';
import SqliteDatabase from 'better-sqlite3';
import { stateFile } from './private-file.js';

export interface StateLock {
  release(): void;
}

/** Where SQLite locks a file: 512 bytes from here on. */
const PENDING_BYTE = 0x40000000;

/**
 * Who holds a lock of SQLite on the file. Asks the kernel: to open the file and close it again would end
 * the locks that this very process has on it.
 */
function holderOf(path: string): number | undefined {
  let locks: string;
  try {
    locks = readFileSync('/proc/locks', 'utf8');
  } catch {
    return undefined; // another system, or hidden from us
  }
  const { ino } = statSync(path);
  // 1: POSIX  ADVISORY  WRITE 4321 08:01:131 1073741824 1073742335
  const held = [...locks.matchAll(/POSIX +ADVISORY +WRITE +(-?\d+) +\S+:(\d+) +(\d+) /g)]
    .filter(([, , inode, start]) => Number(inode) === ino && Number(start) >= PENDING_BYTE)
    .map(([, pid]) => Number(pid));
  const [pid, ...others] = new Set(held);
  // 0: of another container. Several: the same inode number on another disk.
  return pid !== undefined && pid > 0 && others.length === 0 ? pid : undefined;
}

/** What a lock is for, and what to say when another process has it. */
const LOCKS = {
  lock: { held: 'another agent runs on', advice: 'stop it first' },
  keyRotation: { held: 'the key is being rotated in', advice: 'wait until that has ended' },
} as const;

/** Takes the lock until `release` or the end of the process. */
export function lockStateDir(stateDir: string, name: keyof typeof LOCKS = 'lock'): StateLock {
  const path = stateFile(stateDir, name);
  // SQLite would make it readable for others. Never opened when it is there: see `holderOf`.
  if (!existsSync(path)) closeSync(openSync(path, 'wx', 0o600));
  const db = new SqliteDatabase(path, { timeout: 0 });
  try {
    db.pragma('journal_mode = MEMORY'); // no second file
    db.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    db.close();
    const isHeld = error instanceof SqliteDatabase.SqliteError && error.code === 'SQLITE_BUSY';
    if (!isHeld) throw error;
    const pid = holderOf(path);
    const who = pid === undefined ? '' : ` (process ${pid})`;
    const { held, advice } = LOCKS[name];
    throw new UsageError(`${held} ${stateDir}${who}; ${advice}`);
  }
  return { release: () => void db.close() };
}
