/**
 * Opens the registry's SQLite file: durable, strict about references, and at the newest version.
 *
 * Units   `busy_timeout` in milliseconds.
 * Errors  `ConfigError` when the file is missing, not ours, or of a newer program.
 * Source  https://sqlite.org/pragma.html (synchronous, journal_mode, user_version).
 *
 * @module
 */
import { ConfigError } from '@latchkey/shared';
import SqliteDatabase, { type Database } from 'better-sqlite3';
import { MIGRATIONS } from './migrations/index.js';

/**
 * Pages kept in memory, in KiB: the inner ones of a registry of a million clients. Every commit in which
 * a page was split walks over all of them, so that more would cost more than they save.
 */
const CACHE_KIB = 16_384;
/** Part of the file that is read where the system has it, without copying: SQLite's greatest. */
const MMAP_BYTES = 2_147_418_112;

export interface DatabaseOptions {
  /** The file must exist, so that a wrong path cannot quietly make an empty registry. */
  readonly path: string;
  /** Only looks: changes nothing, and does not migrate. */
  readonly isReadOnly?: boolean;
}

function versionOf(db: Database): number {
  return db.pragma('user_version', { simple: true }) as number;
}

function migrate(db: Database): void {
  // Immediate, so that two programs that start at once do not both migrate.
  db.transaction(() => {
    for (const [index, sql] of MIGRATIONS.entries()) {
      if (index < versionOf(db)) continue;
      db.exec(sql);
      db.pragma(`user_version = ${index + 1}`);
    }
  }).immediate();
}

export function openDatabase({ path, isReadOnly = false }: DatabaseOptions): Database {
  const problem = (message: string) => new ConfigError(path, [{ path: '', message }]);
  let db: Database | undefined;
  try {
    db = new SqliteDatabase(path, { fileMustExist: true, readonly: isReadOnly });
    db.pragma('busy_timeout = 5000');
    const version = versionOf(db);
    const known = MIGRATIONS.length;
    if (version > known) {
      throw problem(`is of version ${version}, this program knows ${known}: use a newer latchkey`);
    }
    if (isReadOnly) {
      if (version === known) return db;
      throw problem(`is of version ${version}, not ${known} yet: "latchkey serve" migrates it`);
    }
    db.pragma('journal_mode = WAL');
    // In WAL mode, NORMAL may forget the last commits at a power cut; what we answered must stay (I10).
    db.pragma('synchronous = FULL');
    db.pragma('foreign_keys = ON');
    db.pragma(`cache_size = -${CACHE_KIB}`);
    db.pragma(`mmap_size = ${MMAP_BYTES}`);
    migrate(db);
    return db;
  } catch (error) {
    db?.close();
    if (!(error instanceof SqliteDatabase.SqliteError)) throw error;
    throw problem(`cannot be opened: ${error.message}`);
  }
}
