/**
 * The file of a backup: the registry as one SQLite file, with two tables more.
 *
 *     backup_info   one row: what it is a backup of, and when it was made
 *     backup_file   the other files of the data directory, each with its SHA-256
 *
 * Units   `madeAt`: seconds since 1970.
 * Errors  `ConfigError` for a file that is no backup, damaged, or of a newer program.
 * Source  https://sqlite.org/pragma.html#pragma_integrity_check
 *
 * @module
 */
import { createHash } from 'node:crypto';
import { ConfigError, type NumericDate } from '@latchkey/shared';
import SqliteDatabase, { type Database } from 'better-sqlite3';
import { KNOWN_VERSION, versionOf } from '../registry/sqlite/database.js';

export interface BackupInfo {
  readonly issuer: string;
  readonly madeAt: NumericDate;
  /** Version of the program that made it. */
  readonly program: string;
}

export interface BackupFile {
  /** Relative to the data directory. */
  readonly path: string;
  readonly content: string;
}

export interface Backup {
  readonly info: BackupInfo;
  readonly files: readonly BackupFile[];
}

const FORMAT = 1;
/** All that a data directory holds beside the registry. A path from elsewhere is no path of ours. */
const KNOWN_PATH =
  /^(authority\.toml|operator-key\.json|signing-keys\/[A-Za-z0-9_-]{43}\.(pem|json))$/;

const TABLES = `
  CREATE TABLE backup_info (
    format INTEGER NOT NULL, issuer TEXT NOT NULL, made_at INTEGER NOT NULL, program TEXT NOT NULL
  ) STRICT;
  CREATE TABLE backup_file (
    path TEXT PRIMARY KEY, content TEXT NOT NULL, sha256 TEXT NOT NULL
  ) STRICT;`;

const digestOf = (content: string): string =>
  createHash('sha256').update(content).digest('base64url');

const problem = (path: string, message: string) => new ConfigError(path, [{ path: '', message }]);

/** Makes a copy of a registry a backup. */
export function completeBackup(path: string, { info, files }: Backup): void {
  const db = new SqliteDatabase(path, { fileMustExist: true });
  try {
    db.pragma('synchronous = FULL');
    db.transaction(() => {
      db.exec(TABLES);
      db.prepare('INSERT INTO backup_info VALUES (?, ?, ?, ?)').run(
        FORMAT,
        info.issuer,
        info.madeAt,
        info.program,
      );
      const insert = db.prepare('INSERT INTO backup_file VALUES (?, ?, ?)');
      for (const file of files) insert.run(file.path, file.content, digestOf(file.content));
    })();
  } finally {
    db.close();
  }
}

function readInfo(db: Database, path: string): BackupInfo {
  const isBackup = db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'backup_info'").get();
  if (isBackup === undefined)
    throw problem(path, 'is not a backup; make one with: latchkey backup');
  const { format } = db.prepare('SELECT format FROM backup_info').get() as { format: number };
  const version = versionOf(db);
  if (format !== FORMAT || version > KNOWN_VERSION) {
    throw problem(path, 'was made by a newer program: use a newer latchkey');
  }
  return db
    .prepare<[], BackupInfo>('SELECT issuer, made_at AS madeAt, program FROM backup_info')
    .get() as BackupInfo;
}

function readFiles(db: Database, path: string): readonly BackupFile[] {
  const rows = db
    .prepare<[], BackupFile & { sha256: string }>('SELECT * FROM backup_file ORDER BY path')
    .all();
  for (const file of rows) {
    if (!KNOWN_PATH.test(file.path)) throw problem(path, `holds a file of no known name`);
    if (digestOf(file.content) !== file.sha256) throw problem(path, `is damaged: ${file.path}`);
  }
  if (!rows.some(({ path: name }) => name === 'authority.toml')) {
    throw problem(path, 'holds no authority.toml');
  }
  return rows;
}

/** Reads a backup and checks all of it but the audit chain. */
export function readBackup(path: string): Backup {
  let db: Database | undefined;
  try {
    db = new SqliteDatabase(path, { fileMustExist: true, readonly: true });
    const info = readInfo(db, path);
    const [first] = db.pragma('integrity_check(1)') as readonly { integrity_check: string }[];
    if (first?.integrity_check !== 'ok') throw problem(path, 'is damaged');
    if ((db.pragma('foreign_key_check') as readonly unknown[]).length > 0) {
      throw problem(path, 'is damaged: something in it refers to what it does not hold');
    }
    return { info, files: readFiles(db, path) };
  } catch (error) {
    if (!(error instanceof SqliteDatabase.SqliteError)) throw error;
    throw problem(path, `cannot be read: ${error.message}`);
  } finally {
    db?.close();
  }
}

/** Makes a copy of a backup the registry that it was; nothing of the files remains in it. */
export function reduceToRegistry(path: string): void {
  const db = new SqliteDatabase(path, { fileMustExist: true });
  try {
    db.pragma('synchronous = FULL');
    // The pages held private keys.
    db.pragma('secure_delete = ON');
    db.exec('BEGIN; DROP TABLE backup_file; DROP TABLE backup_info; COMMIT');
  } finally {
    db.close();
  }
}
