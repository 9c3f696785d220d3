/**
 * The audit log in SQLite. Triggers refuse every change but appending and cutting off the oldest.
 *
 * Units   NumericDate; limits in rows.
 * Errors  none of its own.
 * Source  DESIGN 5; `audit/event-hash.ts` (the chain).
 *
 * @module
 */
import type { Clock, NumericDate } from '@latchkey/shared';
import type { Database } from 'better-sqlite3';
import { cutEvent } from '../../audit/chain.js';
import { hashEvent } from '../../audit/event-hash.js';
import type {
  AuditEvent,
  AuditFilter,
  AuditOutcome,
  AuditPageRequest,
  AuditRecord,
  AuditState,
  AuditType,
  ChainPlace,
} from '../audit-log.js';
import type { Page } from '../registry.js';

/** Rows that one page may look at, so that a filter that finds nothing costs little. */
const MAX_SCAN = 20_000;
/** Rows that one step of cutting deletes. */
const MAX_CUT = 5000;

interface Row {
  readonly sequence: number;
  readonly at: NumericDate;
  readonly type: AuditType;
  readonly actor: string | null;
  readonly action: string;
  readonly target: string | null;
  readonly outcome: AuditOutcome;
  readonly client_id: string | null;
  readonly jti: string | null;
  readonly kid: string | null;
  readonly address: string | null;
  readonly detail: string | null;
  readonly previous_hash: string;
  readonly hash: string;
}

export interface SqliteAuditLog {
  /** Inside a transaction, which makes it durable. */
  append(event: AuditEvent): void;
  list(filter: AuditFilter, page: AuditPageRequest): Page<AuditRecord>;
  state(): AuditState;
  cut(before: NumericDate): number;
}

const toRecord = (row: Row): AuditRecord => ({
  sequence: row.sequence,
  at: row.at,
  type: row.type,
  actor: row.actor ?? undefined,
  action: row.action,
  target: row.target ?? undefined,
  outcome: row.outcome,
  address: row.address ?? undefined,
  clientId: row.client_id ?? undefined,
  jti: row.jti ?? undefined,
  kid: row.kid ?? undefined,
  detail: row.detail ?? undefined,
  previousHash: row.previous_hash,
  hash: row.hash,
});

interface Range {
  readonly first: number;
  readonly last: number;
}

type ListParameters = Range & {
  readonly limit: number;
  readonly since: NumericDate;
} & Readonly<Record<'clientId' | 'type' | 'outcome', string | null>>;

export function createAuditLog({ db, clock }: { db: Database; clock: Clock }): SqliteAuditLog {
  const selectLast = db.prepare<[], ChainPlace>(
    'SELECT sequence, hash FROM audit_event ORDER BY sequence DESC LIMIT 1',
  );
  const selectCheckpoint = db.prepare<[], ChainPlace>(
    'SELECT sequence, hash FROM audit_checkpoint',
  );
  const selectHighest = db
    .prepare<[], number>("SELECT seq FROM sqlite_sequence WHERE name = 'audit_event'")
    .pluck();
  const insert = db.prepare<unknown[]>(
    `INSERT INTO audit_event (sequence, at, type, actor, action, target, outcome, client_id, jti, kid,
                              address, detail, previous_hash, hash)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  const selectFirstSince = db
    .prepare<[NumericDate], number | null>('SELECT min(sequence) FROM audit_event WHERE at >= ?')
    .pluck();
  const page = (order: 'ASC' | 'DESC') =>
    db.prepare<ListParameters, Row>(
      `SELECT * FROM audit_event
        WHERE sequence BETWEEN @first AND @last AND at + 0 >= @since
          AND (@clientId IS NULL OR client_id = @clientId)
          AND (@type IS NULL OR type = @type) AND (@outcome IS NULL OR outcome = @outcome)
        ORDER BY sequence ${order} LIMIT @limit`,
    );
  const [selectOldest, selectNewest] = [page('ASC'), page('DESC')];
  const selectHash = db
    .prepare<[number], string>('SELECT hash FROM audit_event WHERE sequence = ?')
    .pluck();
  const setCheckpoint = db.prepare<ChainPlace>(
    'UPDATE audit_checkpoint SET sequence = @sequence, hash = @hash',
  );
  const deleteCut = db.prepare<ChainPlace>('DELETE FROM audit_event WHERE sequence <= @sequence');

  const checkpoint = (): ChainPlace => selectCheckpoint.get() as ChainPlace;

  const append = (event: AuditEvent): void => {
    const { sequence: lastSequence, hash: previousHash } = selectLast.get() ?? checkpoint();
    const sequence = lastSequence + 1;
    const at = clock.now();
    const hash = hashEvent({ ...event, sequence, at, previousHash });
    insert.run(
      sequence,
      at,
      event.type,
      event.actor,
      event.action,
      event.target,
      event.outcome,
      event.clientId,
      event.jti,
      event.kid,
      event.address,
      event.detail,
      previousHash,
      hash,
    );
  };

  const highest = (): number => selectHighest.get() ?? 0;

  /** The bounded part of the log that a page looks at, in its direction. */
  const rangeOf = (filter: AuditFilter, { after, isNewestFirst }: AuditPageRequest): Range => {
    const kept = checkpoint().sequence + 1;
    if (after !== undefined && !isNewestFirst) {
      const first = Math.max(kept, Number(after) + 1);
      return { first, last: Math.min(highest(), first + MAX_SCAN - 1) };
    }
    const since = filter.since === undefined ? kept : selectFirstSince.get(filter.since);
    const start = Math.max(kept, since ?? highest() + 1);
    if (!isNewestFirst) return { first: start, last: Math.min(highest(), start + MAX_SCAN - 1) };
    const last = after === undefined ? highest() : Number(after) - 1;
    return { first: Math.max(start, last - MAX_SCAN + 1), last };
  };

  const list = (filter: AuditFilter, request: AuditPageRequest): Page<AuditRecord> => {
    const { limit, isNewestFirst = false } = request;
    const range = rangeOf(filter, request);
    const rows = (isNewestFirst ? selectNewest : selectOldest).all({
      ...range,
      limit: limit + 1,
      since: filter.since ?? 0,
      clientId: filter.clientId ?? null,
      type: filter.type ?? null,
      outcome: filter.outcome ?? null,
    });
    const shown = rows.slice(0, limit);
    const isFull = rows.length > limit;
    const isMoreToSee = isNewestFirst
      ? range.last - range.first === MAX_SCAN - 1
      : range.last < highest();
    const seenTo = isNewestFirst ? range.first : range.last;
    const next = isFull ? shown.at(-1)?.sequence : isMoreToSee ? seenTo : undefined;
    return { items: shown.map(toRecord), next: next === undefined ? undefined : String(next) };
  };

  const cut = db.transaction((before: NumericDate): number => {
    const { sequence: cutBefore } = checkpoint();
    const firstKept = selectFirstSince.get(before) ?? highest() + 1;
    const sequence = Math.min(firstKept - 1, cutBefore + MAX_CUT);
    const hash = selectHash.get(sequence);
    if (sequence <= cutBefore || hash === undefined) return 0;
    const place = { sequence, hash };
    append(cutEvent(place));
    setCheckpoint.run(place);
    return deleteCut.run(place).changes;
  });

  return {
    append,
    list,
    state: db.transaction(() => ({ checkpoint: checkpoint(), lastSequence: highest() })),
    cut: (before) => cut.immediate(before),
  };
}
