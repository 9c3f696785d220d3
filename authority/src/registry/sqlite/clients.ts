/**
 * Clients in SQLite: devices and services with their keys, roles and labels.
 *
 * `insert`, `addKey` and `assign` do not open a transaction, so that enrollment can put them into its
 * own; `create` does.
 *
 * Units   NumericDate.
 * Errors  `ConflictError` for an id or key that is taken, `FormatError` for an unknown role or a
 *         label that a role needs.
 * Source  DESIGN 4 and 5; RFC 7638 (`kid`).
 *
 * @module
 */
import {
  type ClientId,
  type Clock,
  FormatError,
  type Kid,
  type PermissionName,
  type PublicKey,
  parseTopicScopeTemplate,
  type ResourceId,
  type RoleName,
} from '@latchkey/shared';
import type { Database } from 'better-sqlite3';
import {
  type Client,
  type ClientKey,
  type ClientKind,
  type ClientRights,
  type ClientStatus,
  ConflictError,
  type Labels,
  type NewClient,
  type Page,
  type PageRequest,
  type ResourceKind,
} from '../registry.js';
import { toPage } from './pages.js';
import { createPublicKeyCache } from './public-key-cache.js';

export interface Clients {
  create(client: NewClient): Client;
  client(id: ClientId): Client | undefined;
  list(kind: ClientKind, page: PageRequest): Page<Client>;
  activeKey(id: ClientId, kid: string | undefined): PublicKey | undefined;
  rights(id: ClientId): ClientRights | undefined;
  /** Refuses roles that do not exist, and roles that need a label which is not there. */
  checkRoles(roles: readonly RoleName[], labels: Labels): void;
  insert(id: ClientId, kind: ClientKind): void;
  /** Adds roles and sets labels of a client that exists. */
  assign(id: ClientId, roles: readonly RoleName[], labels: Labels): void;
  addKey(id: ClientId, key: PublicKey): void;
}

interface ClientRow {
  readonly id: ClientId;
  readonly kind: ClientKind;
  readonly status: ClientStatus;
  readonly created_at: number;
}
interface KeyRow {
  readonly kid: Kid;
  readonly client: ClientId;
  readonly x: string;
  readonly created_at: number;
  readonly not_before: number | null;
  readonly expires_at: number | null;
}
interface GrantRow {
  readonly name: PermissionName;
  readonly resource: ResourceId;
  readonly kind: ResourceKind;
  readonly token_ttl_seconds: number;
  readonly scopes: string;
}

const toKey = (row: KeyRow): ClientKey => ({
  kid: row.kid,
  jwk: { kty: 'OKP', crv: 'Ed25519', x: row.x },
  createdAt: row.created_at,
  notBefore: row.not_before ?? undefined,
  expiresAt: row.expires_at ?? undefined,
});

const parseScopes = (json: string): readonly string[] => JSON.parse(json) as string[];

export function createClients({ db, clock }: { db: Database; clock: Clock }): Clients {
  const publicKeys = createPublicKeyCache();
  const insertClient = db.prepare<ClientRow>(
    `INSERT INTO client (id, kind, status, created_at) VALUES (@id, @kind, @status, @created_at)
     ON CONFLICT DO NOTHING`,
  );
  const insertRole = db.prepare<{ client: ClientId; role: RoleName }>(
    'INSERT INTO client_role (client, role) VALUES (@client, @role) ON CONFLICT DO NOTHING',
  );
  const upsertLabel = db.prepare<{ client: ClientId; key: string; value: string }>(
    `INSERT INTO client_label (client, key, value) VALUES (@client, @key, @value)
     ON CONFLICT (client, key) DO UPDATE SET value = excluded.value`,
  );
  const insertKey = db.prepare<{ kid: Kid; client: ClientId; x: string; now: number }>(
    `INSERT INTO client_key (kid, client, x, created_at) VALUES (@kid, @client, @x, @now)
     ON CONFLICT DO NOTHING`,
  );
  const selectClient = db.prepare<[string], ClientRow>('SELECT * FROM client WHERE id = ?');
  const selectClients = db.prepare<{ kind: ClientKind; after: string; limit: number }, ClientRow>(
    'SELECT * FROM client WHERE kind = @kind AND id > @after ORDER BY id LIMIT @limit',
  );
  const selectRoles = db.prepare<[string], { readonly role: RoleName }>(
    'SELECT role FROM client_role WHERE client = ? ORDER BY role',
  );
  const selectLabels = db.prepare<[string], { readonly key: string; readonly value: string }>(
    'SELECT key, value FROM client_label WHERE client = ? ORDER BY key',
  );
  const selectKeys = db.prepare<[string], KeyRow>(
    'SELECT * FROM client_key WHERE client = ? ORDER BY created_at, kid',
  );
  const selectActiveKeys = db.prepare<{ id: ClientId; kid: string | null; now: number }, KeyRow>(
    `SELECT client_key.* FROM client_key JOIN client ON client.id = client_key.client
      WHERE client.id = @id AND client.status = 'active' AND (@kid IS NULL OR kid = @kid)
        AND (not_before IS NULL OR not_before <= @now) AND (expires_at IS NULL OR expires_at > @now)
      LIMIT 2`,
  );
  const selectRole = db.prepare<[string], { readonly name: RoleName }>(
    'SELECT name FROM role WHERE name = ?',
  );
  const selectRoleScopes = db.prepare<[string], { readonly scopes: string }>(
    `SELECT permission.scopes FROM role_permission
       JOIN permission ON permission.name = role_permission.permission
      WHERE role_permission.role = ?`,
  );
  const selectGrants = db.prepare<[string], GrantRow>(
    `SELECT DISTINCT permission.name, permission.resource, resource.kind,
            resource.token_ttl_seconds, permission.scopes
       FROM client_role
       JOIN role_permission ON role_permission.role = client_role.role
       JOIN permission ON permission.name = role_permission.permission
       JOIN resource ON resource.identifier = permission.resource
      WHERE client_role.client = ? ORDER BY permission.name`,
  );

  const labelsOf = (id: ClientId): Labels =>
    new Map(selectLabels.all(id).map(({ key, value }) => [key, value]));

  const toClient = (row: ClientRow): Client => ({
    id: row.id,
    kind: row.kind,
    status: row.status,
    roles: selectRoles.all(row.id).map(({ role }) => role),
    labels: labelsOf(row.id),
    keys: selectKeys.all(row.id).map(toKey),
    createdAt: row.created_at,
  });

  const checkRoles = (roles: readonly RoleName[], labels: Labels): void => {
    for (const role of roles) {
      if (selectRole.get(role) === undefined) {
        throw new FormatError('roles', `name an unknown role: ${role}`);
      }
      for (const { scopes } of selectRoleScopes.all(role)) {
        for (const key of parseScopes(scopes).flatMap((s) => parseTopicScopeTemplate(s).labels)) {
          if (!labels.has(key)) {
            throw new FormatError(`labels.${key}`, `is missing; role ${role} needs it`);
          }
        }
      }
    }
  };

  const insert = (id: ClientId, kind: ClientKind): void => {
    const row = { id, kind, status: 'active' as const, created_at: clock.now() };
    if (insertClient.run(row).changes === 0) throw new ConflictError('client_id', 'is taken');
  };

  const assign = (id: ClientId, roles: readonly RoleName[], labels: Labels): void => {
    for (const [key, value] of labels) upsertLabel.run({ client: id, key, value });
    checkRoles(roles, labelsOf(id));
    for (const role of roles) insertRole.run({ client: id, role });
  };

  const addKey = (id: ClientId, { kid, jwk }: PublicKey): void => {
    const { changes } = insertKey.run({ kid, client: id, x: jwk.x, now: clock.now() });
    if (changes === 0) throw new ConflictError('public_key', 'belongs to a client already');
  };

  const client = (id: ClientId): Client | undefined => {
    const row = selectClient.get(id);
    return row && toClient(row);
  };

  const create = db.transaction(({ id, kind, roles, labels, key }: NewClient): Client => {
    insert(id, kind);
    assign(id, roles, labels);
    if (key !== undefined) addKey(id, key);
    return client(id) as Client;
  });

  const rights = db.transaction((id: ClientId): ClientRights | undefined => {
    if (selectClient.get(id)?.status !== 'active') return undefined;
    const permissions = selectGrants.all(id).map((row) => ({
      name: row.name,
      resource: row.resource,
      kind: row.kind,
      tokenTtlSeconds: row.token_ttl_seconds,
      scopes: parseScopes(row.scopes),
    }));
    return { labels: labelsOf(id), permissions };
  });

  return {
    create: (newClient) => create.immediate(newClient),
    client,
    list: (kind, { after = '', limit }) =>
      toPage(
        selectClients.all({ kind, after, limit: limit + 1 }),
        limit,
        toClient,
        (row) => row.id,
      ),
    activeKey: (id, kid) => {
      const rows = selectActiveKeys.all({ id, kid: kid ?? null, now: clock.now() });
      const [row] = rows;
      return row === undefined || rows.length > 1 ? undefined : publicKeys.restore(toKey(row));
    },
    rights,
    checkRoles,
    insert,
    assign,
    addKey,
  };
}
