/**
 * The broker's state file: copies of what the authority said, so that a restart does not need it.
 *
 * SQLite, of mode 0600, held by one broker at a time. Nothing in it is the only copy: an operator may
 * delete it while the broker is down.
 *
 * Units   sizes in KiB, `busy_timeout` in milliseconds.
 * Errors  `ConfigError`, which says what to do, for a file that is open to others, damaged, in use, not
 *         ours or of a newer program.
 * Source  DESIGN 4 (Trust feed), 8; https://sqlite.org/pragma.html.
 *
 * @module
 */
import { chmodSync, closeSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { ConfigError } from '@latchkey/shared';
import SqliteDatabase, { type Database } from 'better-sqlite3';

/** "LKBS" in ASCII: another program's file is not taken for ours. */
const APPLICATION_ID = 0x4c_4b_42_53;
const OTHERS = 0o077;
const CACHE_KIB = 8192;
/** What the log may keep on disk between checkpoints. */
const MAX_LOG_BYTES = 16 * 1024 * 1024;

const clientTable = (name: string) => `
  CREATE TABLE ${name} (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    may_mint INTEGER NOT NULL,
    tokens_not_before INTEGER NOT NULL,
    keys TEXT NOT NULL,
    scope TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;`;

/** Each brings a file from the version of its index to the next. Only ever added to. */
const MIGRATIONS: readonly string[] = [
  `CREATE TABLE issuer_keys (
     issuer TEXT PRIMARY KEY,
     jwks TEXT NOT NULL,
     saved_at INTEGER NOT NULL
   ) STRICT;
   CREATE TABLE dropped_key (
     sequence INTEGER PRIMARY KEY AUTOINCREMENT,
     kid TEXT NOT NULL UNIQUE
   ) STRICT;
   CREATE TABLE feed (
     id INTEGER PRIMARY KEY CHECK (id = 1),
     issuer TEXT NOT NULL,
     resource TEXT NOT NULL,
     place TEXT NOT NULL CHECK (place IN ('start', 'snapshot', 'changes')),
     feed_id TEXT NOT NULL,
     sequence INTEGER NOT NULL,
     after_id TEXT NOT NULL,
     last_issued_at INTEGER NOT NULL,
     fresh_at INTEGER,
     serving TEXT CHECK (serving IN ('client_a', 'client_b')),
     building TEXT CHECK (building IN ('client_a', 'client_b') AND building <> coalesce(serving, '')),
     clients INTEGER NOT NULL,
     clients_building INTEGER NOT NULL
   ) STRICT;
   ${clientTable('client_a')}
   ${clientTable('client_b')}`,
];

function problem(path: string, message: string): ConfigError {
  return new ConfigError(path, [{ path: '', message }]);
}

/** What helps against everything that is wrong with a copy. */
const DELETE = 'it is only a copy: stop the broker, delete it, and start the broker again';

function refuseOpenToOthers(path: string, mode: number): void {
  if ((mode & OTHERS) === 0) return;
  const shown = (mode & 0o777).toString(8).padStart(4, '0');
  throw problem(path, `is open to others (mode ${shown}); run: chmod 600 ${path}`);
}

/** Whether the file could be opened, as far as that can be said without opening it. */
export function checkStateFile(path: string): void {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found !== undefined) refuseOpenToOthers(path, found.mode);
  const folder = dirname(path);
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw problem(path, `cannot be made: ${folder} is not a folder`);
  }
}

/** Makes the file private from its first moment on; SQLite gives its other files the same mode. */
function makePrivate(path: string): void {
  try {
    closeSync(openSync(path, 'a', 0o600));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw problem(path, `cannot be opened for writing (${code})`);
  }
  const { size, mode } = statSync(path);
  if (size === 0)
    chmodSync(path, 0o600); // the umask may have taken from it
  else refuseOpenToOthers(path, mode);
}

function numberOf(db: Database, pragma: string): number {
  return db.pragma(pragma, { simple: true }) as number;
}

function checkOurs(db: Database, path: string): void {
  const isNew = numberOf(db, 'schema_version') === 0;
  if (isNew) return;
  if (numberOf(db, 'application_id') !== APPLICATION_ID) {
    throw problem(path, 'is not the state file of a broker; name another file');
  }
  const version = numberOf(db, 'user_version');
  if (version > MIGRATIONS.length) {
    const known = MIGRATIONS.length;
    throw problem(
      path,
      `is of version ${version}, this program knows ${known}: use a newer one, or ${DELETE}`,
    );
  }
  const [first] = db.pragma('quick_check(1)') as readonly { readonly quick_check: string }[];
  if (first?.quick_check !== 'ok') throw problem(path, `is damaged; ${DELETE}`);
}

function migrate(db: Database): void {
  db.transaction(() => {
    db.pragma(`application_id = ${APPLICATION_ID}`);
    for (const [index, sql] of MIGRATIONS.entries()) {
      if (index < numberOf(db, 'user_version')) continue;
      db.exec(sql);
      db.pragma(`user_version = ${index + 1}`);
    }
  }).immediate();
}

function describe(error: InstanceType<typeof SqliteDatabase.SqliteError>): string {
  const { code, message } = error;
  if (code.startsWith('SQLITE_BUSY')) return 'is in use by another broker; each needs its own';
  if (code.startsWith('SQLITE_CORRUPT')) return `is damaged; ${DELETE}`;
  if (code.startsWith('SQLITE_NOTADB')) return 'is not the state file of a broker, or damaged';
  return `cannot be opened: ${message}`;
}

/** Opens the state file, or makes it. The folder must be there. */
export function openStateFile(path: string): Database {
  makePrivate(path);
  let db: Database | undefined;
  try {
    db = new SqliteDatabase(path);
    db.pragma('busy_timeout = 2000');
    // Two brokers that write one replica would each skip what the other read.
    db.pragma('locking_mode = EXCLUSIVE');
    checkOurs(db, path);
    db.pragma('journal_mode = WAL');
    // In WAL mode, NORMAL may forget the last commits at a power cut, and with them a revocation.
    db.pragma('synchronous = FULL');
    db.pragma(`journal_size_limit = ${MAX_LOG_BYTES}`);
    db.pragma(`cache_size = -${CACHE_KIB}`);
    migrate(db);
    return db;
  } catch (error) {
    db?.close();
    if (!(error instanceof SqliteDatabase.SqliteError)) throw error;
    throw problem(path, describe(error));
  }
}
