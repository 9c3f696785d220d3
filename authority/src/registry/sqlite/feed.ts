/**
 * The trust feed's view of SQLite: one statement for a page of clients, one transaction for a slice.
 *
 * Units   `sequence` counts changes.
 * Errors  none of its own.
 * Source  DESIGN 4 (Trust feed); migration 4 for the triggers that note changes.
 *
 * @module
 */
import type {
  ClientId,
  FeedKey,
  Kid,
  PermissionName,
  ResourceId,
  RoleName,
} from '@latchkey/shared';
import type { Database } from 'better-sqlite3';
import type { FeedEntry, FeedMark, FeedSlice, FeedStore } from '../feed-store.js';
import type { ClientKind, ClientStatus } from '../registry.js';

type SnapshotRequest = Parameters<FeedStore['feedSnapshot']>[0];
type ChangesRequest = Parameters<FeedStore['feedChanges']>[0];

export interface Feed {
  mark(): FeedMark;
  snapshot(request: SnapshotRequest): FeedSlice;
  changes(request: ChangesRequest): FeedSlice;
  renew(): void;
  onChange(listener: () => void): () => void;
}

interface EntryRow {
  readonly id: ClientId;
  readonly kind: ClientKind | null;
  readonly status: ClientStatus | null;
  readonly may_mint: number | null;
  readonly tokens_not_before: number | null;
  readonly keys: string;
  readonly labels: string;
  readonly roles: string;
  readonly sequence: number;
}
type KeyTuple = readonly [Kid, string, number | null, number | null];
type Permissions = FeedEntry['permissions'];

/** Columns of an entry; a client that was deleted has left only its tombstone. */
const ENTRY_COLUMNS = `
  client.status, client.may_mint, client.tokens_not_before,
  (SELECT json_group_array(json_array(kid, x, not_before, expires_at) ORDER BY created_at, kid)
     FROM client_key WHERE client_key.client = client.id) AS keys,
  (SELECT json_group_object(key, value) FROM client_label
    WHERE client_label.client = client.id) AS labels,
  (SELECT json_group_array(role) FROM client_role WHERE client_role.client = client.id) AS roles`;

const toKey = ([kid, x, notBefore, expiresAt]: KeyTuple): FeedKey => ({
  kid,
  jwk: { kty: 'OKP', crv: 'Ed25519', x },
  notBefore: notBefore ?? undefined,
  expiresAt: expiresAt ?? undefined,
});

/** Calls listeners once all statements of the present transaction are through. */
function createAlarm(db: Database): Feed['onChange'] {
  const listeners = new Set<() => void>();
  let isDue = false;
  const ring = () => {
    isDue = false;
    for (const listener of listeners) listener();
  };
  db.function('latchkey_changed', { directOnly: false }, () => {
    // Transactions never outlast a turn of the event loop.
    if (!isDue && listeners.size > 0) setImmediate(ring);
    isDue = listeners.size > 0;
    return null;
  });
  // Of this connection only: other processes have no such function.
  db.exec(`CREATE TEMP TRIGGER change_noted AFTER INSERT ON main.client_change
             BEGIN SELECT latchkey_changed(); END`);
  return (listener) => {
    listeners.add(listener);
    return () => void listeners.delete(listener);
  };
}

export function createFeed({ db }: { readonly db: Database }): Feed {
  const selectMark = db.prepare<[], FeedMark>(
    `SELECT feed_id AS feedId, (SELECT max(sequence) FROM client_change) AS sequence FROM feed`,
  );
  const selectSnapshot = db.prepare<{ afterId: string; limit: number }, EntryRow>(
    `SELECT client.id, client.kind, 0 AS sequence, ${ENTRY_COLUMNS}
       FROM client WHERE id > @afterId ORDER BY id LIMIT @limit`,
  );
  const selectChanges = db.prepare<{ after: number; limit: number }, EntryRow>(
    `SELECT client_change.client AS id, coalesce(client.kind, client_tombstone.kind) AS kind,
            client_change.sequence, ${ENTRY_COLUMNS}
       FROM client_change
       LEFT JOIN client ON client.id = client_change.client
       LEFT JOIN client_tombstone ON client_tombstone.id = client_change.client
      WHERE client_change.sequence > @after ORDER BY client_change.sequence LIMIT @limit`,
  );
  const selectPermissions = db.prepare<
    { role: RoleName; resource: ResourceId },
    { readonly name: PermissionName; readonly scopes: string }
  >(
    `SELECT permission.name, permission.scopes FROM role_permission
       JOIN permission ON permission.name = role_permission.permission
      WHERE role_permission.role = @role AND permission.resource = @resource`,
  );
  const updateFeed = db.prepare('UPDATE feed SET feed_id = lower(hex(randomblob(16)))');

  /** Permissions of sets of roles; most clients of a page have the same few. */
  const createPermissionLookup = (resource: ResourceId): ((roles: string) => Permissions) => {
    const known = new Map<string, Permissions>();
    return (roles) => {
      const found = known.get(roles);
      if (found !== undefined) return found;
      const byName = new Map(
        (JSON.parse(roles) as RoleName[])
          .flatMap((role) => selectPermissions.all({ role, resource }))
          .map(({ name, scopes }) => [name, { name, scopes: JSON.parse(scopes) as string[] }]),
      );
      const permissions = [...byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
      known.set(roles, permissions);
      return permissions;
    };
  };

  const toEntry = (row: EntryRow, permissionsOf: (roles: string) => Permissions): FeedEntry => {
    const isActive = row.status === 'active';
    return {
      id: row.id,
      kind: row.kind ?? 'device',
      status: row.status ?? 'deleted',
      mayMint: isActive && row.may_mint === 1,
      tokensNotBefore: row.tokens_not_before ?? 0,
      keys: isActive ? (JSON.parse(row.keys) as KeyTuple[]).map(toKey) : [],
      labels: new Map(Object.entries(JSON.parse(row.labels) as Record<string, string>)),
      permissions: isActive ? permissionsOf(row.roles) : [],
      sequence: row.sequence,
    };
  };

  const mark = (): FeedMark => selectMark.get() as FeedMark;

  const snapshot = db.transaction(({ resource, afterId, limit }: SnapshotRequest): FeedSlice => {
    const now = mark();
    const rows = selectSnapshot.all({ afterId, limit: limit + 1 });
    const permissionsOf = createPermissionLookup(resource);
    const entries = rows.slice(0, limit).map((row) => toEntry(row, permissionsOf));
    return { mark: now, entries, to: now.sequence, hasMore: rows.length > limit };
  });

  const changes = db.transaction(({ resource, after, limit }: ChangesRequest): FeedSlice => {
    const now = mark();
    const rows = selectChanges.all({ after, limit: limit + 1 });
    const hasMore = rows.length > limit;
    const taken = rows.slice(0, limit);
    const permissionsOf = createPermissionLookup(resource);
    return {
      mark: now,
      // The client '' stands for the signing keys, which every page carries.
      entries: taken.filter(({ id }) => id !== '').map((row) => toEntry(row, permissionsOf)),
      to: hasMore ? (taken.at(-1)?.sequence ?? after) : now.sequence,
      hasMore,
    };
  });

  return {
    mark,
    snapshot: (request) => snapshot.deferred(request),
    changes: (request) => changes.deferred(request),
    renew: () => void updateFeed.run(),
    onChange: db.readonly ? () => () => undefined : createAlarm(db),
  };
}
