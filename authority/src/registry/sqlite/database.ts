/**
 * Opens the registry's SQLite file: durable, strict about references, and at the newest version; that of
 * an older program is copied first.
 *
 * Units   `busy_timeout` in milliseconds.
 * Errors  `ConfigError` when the file is missing, not ours, or of a newer program.
 * Source  https://sqlite.org/pragma.html (synchronous, journal_mode, user_version).
 *
 * @module
 */
import { existsSync } from 'node:fs';
import { ConfigError } from '@latchkey/shared';
import SqliteDatabase, { type Database } from 'better-sqlite3';
import { copyDatabase } from './copy.js';
import { MIGRATIONS } from './migrations/index.js';

/**
 * Pages kept in memory, in KiB: the inner ones of a registry of a million clients. Every commit in which
 * a page was split walks over all of them, so that more would cost more than they save.
 */
const CACHE_KIB = 16_384;
/** Part of the file that is read where the system has it, without copying: SQLite's greatest. */
const MMAP_BYTES = 2_147_418_112;

/** Version of a registry of this program. */
export const KNOWN_VERSION: number = MIGRATIONS.length;

export interface DatabaseOptions {
  /** The file must exist, so that a wrong path cannot quietly make an empty registry. */
  readonly path: string;
  /** Only looks: changes nothing, and does not migrate. */
  readonly isReadOnly?: boolean;
}

/** Where the registry is kept as it was when this program found it at `version`. */
export const copyBefore = (path: string, version: number): string => `${path}.version-${version}`;

/** Number of migrations that the file has had. */
export function versionOf(db: Database): number {
  return db.pragma('user_version', { simple: true }) as number;
}

const problem = (path: string, message: string): ConfigError =>
  new ConfigError(path, [{ path: '', message }]);

const unopened = (path: string, error: unknown): unknown =>
  error instanceof SqliteDatabase.SqliteError
    ? problem(path, `cannot be opened: ${error.message}`)
    : error;

/** The same for a file that is not open. */
export function fileVersion(path: string): number {
  let db: Database | undefined;
  try {
    db = new SqliteDatabase(path, { fileMustExist: true, readonly: true });
    return versionOf(db);
  } catch (error) {
    throw unopened(path, error);
  } finally {
    db?.close();
  }
}

/** The first thing that is wrong with the file; `undefined`: nothing. It reads all of it. */
export function firstDamage(path: string): string | undefined {
  let db: Database | undefined;
  try {
    db = new SqliteDatabase(path, { fileMustExist: true, readonly: true });
    const found = db.pragma('quick_check(1)', { simple: true }) as string;
    return found === 'ok' ? undefined : found;
  } catch (error) {
    if (error instanceof SqliteDatabase.SqliteError) return error.message;
    throw error;
  } finally {
    db?.close();
  }
}

/** What the file of an older program looked like is kept beside it. */
function keepBefore(db: Database): void {
  const version = versionOf(db);
  if (version === 0 || version === KNOWN_VERSION) return;
  const path = copyBefore(db.name, version);
  if (!existsSync(path)) copyDatabase(db, path);
}

function migrate(db: Database): void {
  keepBefore(db);
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
  let db: Database | undefined;
  try {
    db = new SqliteDatabase(path, { fileMustExist: true, readonly: isReadOnly });
    db.pragma('busy_timeout = 5000');
    const version = versionOf(db);
    const known = KNOWN_VERSION;
    if (version > known) {
      throw problem(
        path,
        `is of version ${version}, this program knows ${known}: use a newer latchkey`,
      );
    }
    if (isReadOnly) {
      if (version === known) return db;
      throw problem(path, `is of version ${version}, not ${known} yet; run: latchkey upgrade`);
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
    throw unopened(path, error);
  }
}
