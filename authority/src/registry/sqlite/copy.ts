/**
 * Copies a registry as it is at one moment, beside programs that write to it.
 *
 * Units   none.
 * Errors  `SqliteError`, such as a full disk; then no copy remains.
 * Source  https://sqlite.org/lang_vacuum.html#vacuum_with_an_into_clause
 *
 * @module
 */
import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, renameSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Database } from 'better-sqlite3';
import { syncDirectory, writePrivateFile } from '../../private-file.js';

/**
 * Writes the copy to `path`, which must not exist; mode 0600, one file, durable. A program that is killed
 * meanwhile leaves nothing by that name.
 */
export function copyDatabase(db: Database, path: string): void {
  const partial = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  // SQLite would make it with the modes of the umask; it takes an empty file as well.
  writePrivateFile(partial, '');
  try {
    db.prepare('VACUUM INTO ?').run(partial);
    const fd = openSync(partial, 'r');
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(partial, path);
    syncDirectory(dirname(path));
  } catch (error) {
    rmSync(partial, { force: true });
    throw error;
  }
}
