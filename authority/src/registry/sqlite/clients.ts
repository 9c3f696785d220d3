/**
 * Registers clients in SQLite and changes what an operator gives them: roles, labels, limits.
 *
 * `insert` and `assign` do not open a transaction, so that enrollment can put them into its own.
 *
 * Units   NumericDate.
 * Errors  `ConflictError` for an id or key that is taken, `FormatError` for an unknown role or a
 *         label that a role needs, and those of `ClientChanges`.
 * Source  DESIGN 4 and 5.
 *
 * @module
 */
import type { ClientId, Clock, Label, RoleName } from '@latchkey/shared';
import type { Database } from 'better-sqlite3';
import type { ClientPatch, Condition, Reach } from '../lifecycle.js';
import {
  type Client,
  type ClientKind,
  ConflictError,
  type Labels,
  type NewClient,
} from '../registry.js';
import type { ClientChanges } from './client-changes.js';
import type { ClientKeys } from './client-keys.js';
import type { ClientReader } from './client-reader.js';
import type { RoleLabels } from './role-labels.js';

export interface Clients {
  create(client: NewClient, reach?: Reach): Client;
  patch(id: ClientId, patch: ClientPatch, condition?: Condition): Client;
  insert(id: ClientId, kind: ClientKind, settings?: NewSettings): void;
  /** What is left of whoever had the id; refuses one that is kept for a client which was deleted. */
  beginningOf(id: ClientId): { readonly tokensNotBefore: number; readonly version: number };
  /** Forgets whoever had the id. */
  forget(id: ClientId): void;
  /** Adds roles and sets labels of a client that exists. */
  assign(id: ClientId, roles: readonly RoleName[], labels: Labels): void;
}

/** What a new client has beside roles, labels and keys; defaults as in `NewClient`. */
export interface NewSettings {
  readonly mayMint?: boolean | undefined;
  readonly tokenTtlSeconds?: number | undefined;
  readonly limitedToLabel?: Label | undefined;
}

interface InsertParameters extends Settings {
  readonly kind: ClientKind;
  readonly now: number;
  readonly version: number;
}

interface Settings {
  readonly id: ClientId;
  readonly mayMint: number;
  readonly tokenTtlSeconds: number | null;
  readonly tokensNotBefore: number;
  readonly limitKey: string | null;
  readonly limitValue: string | null;
}

export function createClients(deps: {
  readonly db: Database;
  readonly clock: Clock;
  readonly reader: ClientReader;
  readonly changes: ClientChanges;
  readonly keys: ClientKeys;
  readonly roleLabels: RoleLabels;
}): Clients {
  const { db, clock, reader, changes, keys, roleLabels } = deps;
  const insertClient = db.prepare<InsertParameters>(
    `INSERT INTO client (id, kind, status, created_at, tokens_not_before, version, may_mint,
                         token_ttl_seconds, limit_key, limit_value)
     VALUES (@id, @kind, 'active', @now, @tokensNotBefore, @version, @mayMint,
             @tokenTtlSeconds, @limitKey, @limitValue) ON CONFLICT DO NOTHING`,
  );
  const selectTombstone = db.prepare<
    [string],
    { readonly deleted_at: number; readonly freed_at: number | null; readonly version: number }
  >('SELECT deleted_at, freed_at, version FROM client_tombstone WHERE id = ?');
  const deleteTombstone = db.prepare<[string]>('DELETE FROM client_tombstone WHERE id = ?');
  const insertRole = db.prepare<{ client: ClientId; role: RoleName }>(
    'INSERT INTO client_role (client, role) VALUES (@client, @role) ON CONFLICT DO NOTHING',
  );
  const deleteRole = db.prepare<{ client: ClientId; role: RoleName }>(
    'DELETE FROM client_role WHERE client = @client AND role = @role',
  );
  const upsertLabel = db.prepare<{ client: ClientId; key: string; value: string }>(
    `INSERT INTO client_label (client, key, value) VALUES (@client, @key, @value)
     ON CONFLICT (client, key) DO UPDATE SET value = excluded.value WHERE value <> excluded.value`,
  );
  const deleteLabel = db.prepare<{ client: ClientId; key: string }>(
    'DELETE FROM client_label WHERE client = @client AND key = @key',
  );
  const updateSettings = db.prepare<Settings>(
    `UPDATE client SET may_mint = @mayMint, token_ttl_seconds = @tokenTtlSeconds,
            tokens_not_before = max(tokens_not_before, @tokensNotBefore),
            limit_key = @limitKey, limit_value = @limitValue
      WHERE id = @id`,
  );

  const beginningOf: Clients['beginningOf'] = (id) => {
    const tombstone = selectTombstone.get(id);
    if (tombstone?.freed_at === null) {
      throw new ConflictError(
        'client_id',
        'is taken by a client that was deleted, until it is freed',
      );
    }
    return {
      // What was issued to the client before it under this id must never be taken for its own (I7).
      tokensNotBefore: tombstone === undefined ? 0 : tombstone.deleted_at + 1,
      version: (tombstone?.version ?? 0) + 1,
    };
  };

  const insert = (id: ClientId, kind: ClientKind, settings: NewSettings = {}): void => {
    const { mayMint = false, tokenTtlSeconds, limitedToLabel } = settings;
    const beginning = beginningOf(id);
    deleteTombstone.run(id);
    const { changes: count } = insertClient.run({
      ...{ id, kind, now: clock.now(), mayMint: Number(mayMint), ...beginning },
      tokenTtlSeconds: tokenTtlSeconds ?? null,
      limitKey: limitedToLabel?.key ?? null,
      limitValue: limitedToLabel?.value ?? null,
    });
    if (count === 0) throw new ConflictError('client_id', 'is taken');
  };

  const assign = (id: ClientId, roles: readonly RoleName[], labels: Labels): void => {
    for (const [key, value] of labels) upsertLabel.run({ client: id, key, value });
    roleLabels.checkRoles(roles, reader.labelsOf(id));
    for (const role of roles) insertRole.run({ client: id, role });
  };

  const set = (client: Client, patch: ClientPatch): void => {
    const { id } = client;
    const {
      mayMint = client.mayMint,
      tokenTtlSeconds = client.tokenTtlSeconds ?? null,
      limitedToLabel = client.limitedToLabel ?? null,
      tokensNotBefore = client.tokensNotBefore,
    } = patch;
    updateSettings.run({
      ...{ id, tokenTtlSeconds, tokensNotBefore, mayMint: Number(mayMint) },
      limitKey: limitedToLabel?.key ?? null,
      limitValue: limitedToLabel?.value ?? null,
    });
  };

  const create = db.transaction((client: NewClient, reach?: Reach): Client => {
    const { id, kind, roles, labels, key, mayMint, tokenTtlSeconds, limitedToLabel } = client;
    changes.checkReach(reach, client);
    insert(id, kind, { mayMint, tokenTtlSeconds, limitedToLabel });
    assign(id, roles, labels);
    if (key !== undefined) keys.insert(id, { key });
    return reader.client(id) as Client;
  });

  /** Touches only what differs. All roles are checked against the labels that are left. */
  const replace = (
    { id: client, roles: rolesBefore }: Client,
    { roles = rolesBefore, labels = new Map() }: ClientPatch,
  ): void => {
    for (const role of rolesBefore) if (!roles.includes(role)) deleteRole.run({ client, role });
    const kept = new Map<string, string>();
    for (const [key, value] of labels) {
      if (value === null) deleteLabel.run({ client, key });
      else kept.set(key, value);
    }
    assign(client, roles, kept);
  };

  return {
    create: (client, reach) => create.immediate(client, reach),
    patch: (id, patch, condition) =>
      changes.change(id, condition, (before) => {
        replace(before, patch);
        set(before, patch);
      }),
    insert,
    beginningOf,
    forget: (id) => void deleteTombstone.run(id),
    assign,
  };
}
