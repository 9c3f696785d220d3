/**
 * The SQLite file of the outbox: durable, private, and replaced when it cannot be read any more.
 *
 * Units   sizes in bytes of topic and payload; NumericDate.
 * Errors  `UsageError` when the file is of a newer program, open to others, or cannot be opened.
 * Source  https://sqlite.org/pragma.html (synchronous, journal_mode, user_version).
 *
 * @module
 */
import {
  chmodSync,
  closeSync,
  existsSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { type Logger, type NumericDate, UsageError } from '@latchkey/shared';
import SqliteDatabase, { type Database } from 'better-sqlite3';
import type { Qos } from './config.js';
import type { Message } from './mqtt-connection.js';

/** Messages of an earlier lane leave first, and are dropped last. */
export const LANES = ['alarm', 'telemetry'] as const;
export type Lane = (typeof LANES)[number];

export interface OutboxMessage extends Message {
  /** Place in the order of acceptance. */
  readonly sequence: number;
  readonly lane: Lane;
  /** `undefined`: the clock was not set yet. */
  readonly acceptedAt: NumericDate | undefined;
}

export interface OutboxFile {
  readonly isOpen: boolean;
  /** Runs `work` in one transaction, durable when it returns. */
  transaction<Result>(work: () => Result): Result;
  /** Returns the message's sequence. */
  insert(message: Omit<OutboxMessage, 'sequence'>): number;
  /** Returns the size of what went, `undefined` when it was not there. */
  remove(sequence: number): number | undefined;
  /** The first messages of the lane after that sequence. */
  next(lane: Lane, after: number, limit: number): OutboxMessage[];
  /** Sequence of the lane's newest message; 0 when it has none. */
  newest(lane: Lane): number;
  /** The oldest messages, by lane. */
  oldest(limit: number): readonly OutboxMessage[];
  /** What goes first when there is no room. */
  firstToDrop(): number | undefined;
  /** At most 1,000. */
  agedBefore(acceptedAt: NumericDate): readonly number[];
  /** That one if it is there, or all. */
  sequences(sequence: number | null): readonly number[];
  /** When the oldest message was accepted, of those that came with a clock. */
  oldestAt(): NumericDate | undefined;
  totals(): { readonly messages: number; readonly bytes: number };
  /** Writes a page as it is, within a transaction. */
  touch(): void;
  /** Moves the write-ahead log into the file. Throws when there is no room. */
  foldJournal(): void;
  close(): void;
}

interface Row {
  readonly sequence: number;
  readonly lane: number;
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: Qos;
  readonly is_retained: 0 | 1;
  readonly accepted_at: number | null;
}

/** Each takes the file one version further; append only. */
const MIGRATIONS = [
  `CREATE TABLE message (
     sequence INTEGER PRIMARY KEY AUTOINCREMENT,
     lane INTEGER NOT NULL,
     topic TEXT NOT NULL,
     payload BLOB NOT NULL,
     qos INTEGER NOT NULL CHECK (qos BETWEEN 0 AND 2),
     is_retained INTEGER NOT NULL CHECK (is_retained IN (0, 1)),
     accepted_at INTEGER
   ) STRICT;
   CREATE INDEX message_by_lane ON message (lane, sequence);
   CREATE INDEX message_by_age ON message (accepted_at);`,
] as const;

const JOURNAL_BYTES = 4 * 1024 * 1024;
const UNREADABLE: readonly string[] = ['SQLITE_CORRUPT', 'SQLITE_NOTADB'];

function migrate(db: Database, path: string): void {
  const version = db.pragma('user_version', { simple: true }) as number;
  if (version > MIGRATIONS.length) {
    throw new UsageError(`${path} is of a newer latchkey-agent; use that one`);
  }
  if (version === MIGRATIONS.length) return; // no write, so that a full disk can be opened
  db.transaction(() => {
    for (const sql of MIGRATIONS.slice(version)) db.exec(sql);
    db.pragma(`user_version = ${MIGRATIONS.length}`);
  }).immediate();
}

function open(path: string): Database {
  // SQLite would make it readable for others.
  if (!existsSync(path)) closeSync(openSync(path, 'wx', 0o600));
  if ((statSync(path).mode & 0o077) !== 0) {
    throw new UsageError(`${path} is open to others; run: chmod 600 ${path}`);
  }
  const db = new SqliteDatabase(path);
  try {
    // Nobody else opens it. Without this SQLite keeps an index in a file, for which a full disk has no room.
    db.pragma('locking_mode = EXCLUSIVE');
    db.pragma('journal_mode = WAL');
    // In WAL mode, NORMAL may forget the last commits at a power cut; what we accepted must stay (I10).
    db.pragma('synchronous = FULL');
    db.pragma(`journal_size_limit = ${JOURNAL_BYTES}`);
    migrate(db, path);
    if (existsSync(`${path}-wal`)) chmodSync(`${path}-wal`, 0o600);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/** What SQLite calls an I/O error, in the words of the system; empty when the disk takes writing. */
function writeProblem(path: string): string {
  const probe = `${path}.probe`;
  try {
    writeFileSync(probe, 'x', { mode: 0o600 });
    rmSync(probe);
    return '';
  } catch (error) {
    return `; ${error instanceof Error ? error.message : String(error)}`;
  }
}

function openOrReplace(path: string, logger: Logger): Database {
  try {
    return open(path);
  } catch (error) {
    if (!(error instanceof SqliteDatabase.SqliteError)) throw error;
    if (!UNREADABLE.includes(error.code)) {
      throw new UsageError(`${path} cannot be opened: ${error.message}${writeProblem(path)}`);
    }
    const aside = `${path}.damaged`;
    renameSync(path, aside);
    for (const suffix of ['-wal', '-shm']) rmSync(`${path}${suffix}`, { force: true });
    logger.error(
      { event: 'outbox.damaged', path: aside },
      'the outbox was damaged and is set aside',
    );
    return open(path);
  }
}

function toMessage(row: Row): OutboxMessage {
  return {
    sequence: row.sequence,
    lane: LANES[row.lane] as Lane,
    topic: row.topic,
    payload: row.payload,
    qos: row.qos,
    isRetained: row.is_retained === 1,
    acceptedAt: row.accepted_at ?? undefined,
  };
}

/**
 * Opens the file, or makes it. One that is damaged is set aside for whoever can read it, since a device
 * that never sends again would lose more.
 */
export function openOutboxFile(path: string, logger: Logger): OutboxFile {
  const db = openOrReplace(path, logger);
  const columns = 'sequence, lane, topic, payload, qos, is_retained, accepted_at';
  const size = 'length(CAST(topic AS BLOB)) + length(payload)';
  const insert = db.prepare<Omit<Row, 'sequence'>>(
    `INSERT INTO message (lane, topic, payload, qos, is_retained, accepted_at)
     VALUES (@lane, @topic, @payload, @qos, @is_retained, @accepted_at)`,
  );
  const remove = db
    .prepare<[number], number>(`DELETE FROM message WHERE sequence = ? RETURNING ${size}`)
    .pluck();
  const selectNext = db.prepare<[number, number, number], Row>(
    `SELECT ${columns} FROM message WHERE lane = ? AND sequence > ? ORDER BY sequence LIMIT ?`,
  );
  const selectNewest = db
    .prepare<[number], number | null>('SELECT max(sequence) FROM message WHERE lane = ?')
    .pluck();
  const selectOldest = db.prepare<[number], Row>(
    `SELECT ${columns} FROM message ORDER BY lane, sequence LIMIT ?`,
  );
  const selectFirstToDrop = db
    .prepare<[], number>('SELECT sequence FROM message ORDER BY lane DESC, sequence LIMIT 1')
    .pluck();
  const selectAged = db
    .prepare<[number], number>('SELECT sequence FROM message WHERE accepted_at < ? LIMIT 1000')
    .pluck();
  const selectSequences = db
    .prepare<{ sequence: number | null }, number>(
      'SELECT sequence FROM message WHERE @sequence IS NULL OR sequence = @sequence',
    )
    .pluck();
  const selectTotals = db.prepare<[], { messages: number; bytes: number }>(
    `SELECT count(*) AS messages, coalesce(sum(${size}), 0) AS bytes FROM message`,
  );
  const selectOldestAt = db
    .prepare<[], number | null>('SELECT min(accepted_at) FROM message')
    .pluck();
  return {
    get isOpen() {
      return db.open;
    },
    transaction: (work) => db.transaction(work).immediate(),
    insert: ({ lane, topic, payload, qos, isRetained, acceptedAt }) => {
      const { lastInsertRowid } = insert.run({
        lane: LANES.indexOf(lane),
        topic,
        payload,
        qos,
        is_retained: isRetained ? 1 : 0,
        accepted_at: acceptedAt ?? null,
      });
      return Number(lastInsertRowid);
    },
    remove: (sequence) => remove.get(sequence),
    next: (lane, after, limit) => selectNext.all(LANES.indexOf(lane), after, limit).map(toMessage),
    newest: (lane) => selectNewest.get(LANES.indexOf(lane)) ?? 0,
    oldest: (limit) => selectOldest.all(limit).map(toMessage),
    firstToDrop: () => selectFirstToDrop.get(),
    agedBefore: (acceptedAt) => selectAged.all(acceptedAt),
    sequences: (sequence) => selectSequences.all({ sequence }),
    oldestAt: () => selectOldestAt.get() ?? undefined,
    totals: () => selectTotals.get() as { messages: number; bytes: number },
    touch: () => void db.pragma(`user_version = ${MIGRATIONS.length}`),
    foldJournal: () => void db.pragma('wal_checkpoint(TRUNCATE)'),
    close: () => void db.close(),
  };
}
