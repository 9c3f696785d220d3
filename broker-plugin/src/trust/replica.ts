/**
 * The replica of the trust feed on disk: clients of the authority, and how far the broker has come.
 *
 * A page is applied in one transaction. A snapshot is built beside the replica that serves and takes
 * its place when it is whole, so a broker that is killed anywhere goes on with one or the other.
 *
 * Units   NumericDate; `size` counts clients.
 * Errors  `ConfigError` for a replica of another issuer or resource. `SqliteError` when the disk fails:
 *         then nothing of the page is applied, and what is looked up is not known.
 * Source  DESIGN 4 (Trust feed), 8, 9 (I10, I11).
 *
 * @module
 */
import {
  type ClientId,
  ConfigError,
  type FeedClient,
  type FeedPage,
  type FeedPosition,
  type FeedStep,
  type Issuer,
  type Kid,
  type Logger,
  type NumericDate,
  type ResourceId,
} from '@latchkey/shared';
import type { Database } from 'better-sqlite3';
import type { ClientTable } from './client-table.js';
import type { KeyCopies } from './key-copies.js';

export interface Replica extends ClientTable {
  /** Where the last page that was applied leads. */
  readonly position: FeedPosition;
  /** `issuedAt` of that page, by the authority's clock; 0 before the first. */
  readonly lastIssuedAt: NumericDate;
  /** How many clients are known. */
  readonly size: number;
  /** Applies a verified page that fits, at `now` of this machine's clock, then tells the listeners. */
  apply(page: FeedPage, step: FeedStep, now: NumericDate): void;
}

type TableName = 'client_a' | 'client_b';

interface FeedRow {
  readonly issuer: Issuer;
  readonly resource: ResourceId;
  readonly place: FeedPosition['at'];
  readonly feedId: string;
  readonly sequence: number;
  readonly afterId: string;
  readonly lastIssuedAt: NumericDate;
  readonly freshAt: NumericDate | null;
  /** Holds the last snapshot that was whole, with all changes since. */
  readonly serving: TableName | null;
  /** Holds a part of a snapshot. */
  readonly building: TableName | null;
  readonly clients: number;
  readonly clientsBuilding: number;
}

interface ClientRow {
  readonly id: ClientId;
  readonly kind: FeedClient['kind'];
  readonly status: FeedClient['status'];
  readonly mayMint: number;
  readonly tokensNotBefore: NumericDate;
  readonly keys: string;
  readonly scope: string;
}
type KeyTuple = readonly [Kid, string, NumericDate | null, NumericDate | null];

function toClient({
  id,
  kind,
  status,
  mayMint,
  tokensNotBefore,
  keys,
  scope,
}: ClientRow): FeedClient {
  return {
    ...{ id, kind, status, mayMint: mayMint === 1, tokensNotBefore, scope },
    keys: (JSON.parse(keys) as KeyTuple[]).map(([kid, x, notBefore, expiresAt]) => ({
      kid,
      jwk: { kty: 'OKP', crv: 'Ed25519', x },
      notBefore: notBefore ?? undefined,
      expiresAt: expiresAt ?? undefined,
    })),
  };
}

function toRow(client: FeedClient): ClientRow {
  const { id, kind, status, mayMint, tokensNotBefore, keys, scope } = client;
  const tuples = keys.map(
    ({ kid, jwk, notBefore, expiresAt }): KeyTuple => [
      ...([kid, jwk.x, notBefore ?? null, expiresAt ?? null] as const),
    ],
  );
  return {
    ...{ id, kind, status, mayMint: mayMint ? 1 : 0, tokensNotBefore, scope },
    keys: JSON.stringify(tuples),
  };
}

function toPosition({ place, feedId, sequence, afterId }: FeedRow): FeedPosition {
  if (place === 'start') return { at: 'start' };
  if (place === 'changes') return { at: 'changes', feedId, sequence };
  return { at: 'snapshot', feedId, sequence, afterId };
}

/** The statements of one of the two tables. */
function prepareTable(db: Database, name: TableName) {
  const select = db.prepare<{ id: string }, ClientRow>(
    `SELECT id, kind, status, may_mint AS mayMint, tokens_not_before AS tokensNotBefore, keys, scope
       FROM ${name} WHERE id = @id`,
  );
  const insert = db.prepare<ClientRow>(
    `INSERT INTO ${name} (id, kind, status, may_mint, tokens_not_before, keys, scope)
     VALUES (@id, @kind, @status, @mayMint, @tokensNotBefore, @keys, @scope)`,
  );
  const remove = db.prepare<{ id: string }>(`DELETE FROM ${name} WHERE id = @id`);
  const clear = db.prepare(`DELETE FROM ${name}`);
  return {
    find: (id: ClientId): FeedClient | undefined => {
      const row = select.get({ id });
      return row === undefined ? undefined : toClient(row);
    },
    /** Writes the clients; returns by how many the table grew. */
    put: (clients: readonly FeedClient[]): number => {
      let growth = 0;
      for (const client of clients) {
        growth -= remove.run({ id: client.id }).changes;
        if (client.status === 'deleted') continue;
        insert.run(toRow(client));
        growth += 1;
      }
      return growth;
    },
    clear: (): void => void clear.run(),
  };
}

const COLUMNS = `issuer, resource, place, feed_id AS feedId, sequence, after_id AS afterId,
  last_issued_at AS lastIssuedAt, fresh_at AS freshAt, serving, building, clients,
  clients_building AS clientsBuilding`;

/** The row of the feed; made when there is none. */
function openRow(db: Database, issuer: Issuer, resource: ResourceId): FeedRow {
  db.prepare(
    `INSERT INTO feed (id, issuer, resource, place, feed_id, sequence, after_id, last_issued_at,
                       clients, clients_building)
     VALUES (1, ?, ?, 'start', '', 0, '', 0, 0, 0) ON CONFLICT DO NOTHING`,
  ).run(issuer, resource);
  const row = db.prepare<[], FeedRow>(`SELECT ${COLUMNS} FROM feed`).get() as FeedRow;
  if (row.issuer !== issuer || row.resource !== resource) {
    const message = `is of issuer ${row.issuer} and resource ${row.resource}, not of ${issuer} and ${resource}; name another file, or delete it: it is only a copy`;
    throw new ConfigError(db.name, [{ path: '', message }]);
  }
  return row;
}

export function createReplica(deps: {
  readonly db: Database;
  readonly issuer: Issuer;
  readonly resource: ResourceId;
  readonly keyCopies: KeyCopies;
  readonly logger: Logger;
}): Replica {
  const { db, issuer, resource, keyCopies, logger } = deps;
  let row = openRow(db, issuer, resource);
  const tables = {
    client_a: prepareTable(db, 'client_a'),
    client_b: prepareTable(db, 'client_b'),
  };
  const listeners = new Set<Parameters<ClientTable['onChange']>[0]>();
  const update = db.prepare<FeedRow>(
    `UPDATE feed SET place = @place, feed_id = @feedId, sequence = @sequence, after_id = @afterId,
       last_issued_at = @lastIssuedAt, fresh_at = @freshAt, serving = @serving,
       building = @building, clients = @clients, clients_building = @clientsBuilding`,
  );

  /** Changes go into the table that serves. */
  const putChanges = (page: FeedPage): Partial<FeedRow> => {
    if (row.serving === null) throw new TypeError('changes before a whole snapshot');
    return { clients: row.clients + tables[row.serving].put(page.clients) };
  };

  /** Pages of a snapshot go into the other one. */
  const putSnapshot = (page: FeedPage, { isRestart, position }: FeedStep): Partial<FeedRow> => {
    let { building, clientsBuilding } = row;
    if (isRestart || building === null) {
      building = row.serving === 'client_a' ? 'client_b' : 'client_a';
      tables[building].clear();
      clientsBuilding = 0;
    }
    clientsBuilding += tables[building].put(page.clients);
    if (position.at !== 'changes') return { building, clientsBuilding };
    if (row.serving !== null) tables[row.serving].clear();
    return { serving: building, building: null, clients: clientsBuilding, clientsBuilding: 0 };
  };

  const write = db.transaction((page: FeedPage, step: FeedStep, now: NumericDate): FeedRow => {
    const { position } = step;
    const next: FeedRow = {
      ...row,
      ...(page.kind === 'snapshot' ? putSnapshot(page, step) : putChanges(page)),
      place: position.at,
      feedId: position.at === 'start' ? '' : position.feedId,
      sequence: position.at === 'start' ? 0 : position.sequence,
      afterId: position.at === 'snapshot' ? position.afterId : '',
      lastIssuedAt: page.issuedAt,
      freshAt: now,
    };
    update.run(next);
    keyCopies.replace(issuer, page.issuerKeys, now);
    return next;
  });

  const tell = (changed: readonly FeedClient[] | 'all'): void => {
    for (const listener of listeners) {
      try {
        listener(changed);
      } catch (error) {
        const fields = { event: 'feed.listener-failed', err: error };
        logger.error(fields, 'unexpected error');
      }
    }
  };

  return {
    find: (id) => (row.serving === null ? undefined : tables[row.serving].find(id)),
    get isWhole() {
      return row.serving !== null;
    },
    get freshAt() {
      return row.freshAt ?? undefined;
    },
    get position() {
      return toPosition(row);
    },
    get lastIssuedAt() {
      return row.lastIssuedAt;
    },
    get size() {
      return row.clients;
    },
    onChange: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    apply: (page, step, now) => {
      const { serving } = row;
      row = write.immediate(page, step, now);
      if (row.serving !== serving) tell('all');
      else if (page.kind === 'changes' && page.clients.length > 0) tell(page.clients);
    },
  };
}
