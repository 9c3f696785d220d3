/**
 * Copies a registry as it is at one moment, beside programs that write to it.
 *
 * Units   none.
 * Errors  `SqliteError`, such as a full disk; then no copy remains.
 * Source  https://sqlite.org/lang_vacuum.html#vacuum_with_an_into_clause
 *
 * @module
 */
import { closeSync, fsyncSync, openSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Database } from 'better-sqlite3';
import { syncDirectory, writePrivateFile } from '../../private-file.js';

/** Writes the copy to `path`, which must not exist; mode 0600, one file, durable. */
export function copyDatabase(db: Database, path: string): void {
  // SQLite would make it with the modes of the umask; it takes an empty file as well.
  writePrivateFile(path, '');
  try {
    db.prepare('VACUUM INTO ?').run(path);
    const fd = openSync(path, 'r');
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    syncDirectory(dirname(path));
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  }
}
