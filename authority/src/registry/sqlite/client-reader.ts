/**
 * Reads clients from SQLite as a whole: with roles, labels, keys and what is known of secrets.
 *
 * Units   NumericDate.
 * Errors  none.
 * Source  DESIGN 5.
 *
 * @module
 */
import type { ClientId, Kid, Label, RoleName } from '@latchkey/shared';
import type { Database } from 'better-sqlite3';
import type { ClientSecret, Reach, Rotation } from '../lifecycle.js';
import type { Client, ClientKey, ClientKind, ClientStatus, Labels } from '../registry.js';

export interface ClientRow {
  readonly id: ClientId;
  readonly kind: ClientKind;
  readonly status: ClientStatus;
  readonly may_mint: number;
  readonly token_ttl_seconds: number | null;
  readonly tokens_not_before: number;
  readonly limit_key: string | null;
  readonly limit_value: string | null;
  readonly created_at: number;
  readonly version: number;
}

export interface KeyRow {
  readonly kid: Kid;
  readonly client: ClientId;
  readonly x: string;
  readonly label: string;
  readonly created_at: number;
  readonly not_before: number | null;
  readonly expires_at: number | null;
}

interface SecretRow {
  readonly id: number;
  readonly prefix: string;
  readonly last_four: string;
  readonly label: string;
  readonly created_at: number;
  readonly expires_at: number | null;
}

export interface ClientReader {
  /** With a reach, `undefined` also for a client that is out of it. */
  client(id: ClientId, reach?: Reach): Client | undefined;
  toClient(row: ClientRow): Client;
  labelsOf(id: ClientId): Labels;
}

export const toKey = (row: KeyRow): ClientKey => ({
  kid: row.kid,
  jwk: { kty: 'OKP', crv: 'Ed25519', x: row.x },
  label: row.label,
  createdAt: row.created_at,
  notBefore: row.not_before ?? undefined,
  expiresAt: row.expires_at ?? undefined,
});

const toSecret = (row: SecretRow): ClientSecret => ({
  id: row.id,
  prefix: row.prefix,
  lastFour: row.last_four,
  label: row.label,
  createdAt: row.created_at,
  expiresAt: row.expires_at ?? undefined,
});

/** The label that an operator is limited to. */
export function limitOf({ limit_key: key, limit_value: value }: ClientRow): Label | undefined {
  return key === null || value === null ? undefined : { key, value };
}

/** Whether a client with these labels is one that the operator may see. */
export function isWithin(reach: Reach | undefined, labels: Labels): boolean {
  const label = reach?.label;
  return label === undefined || labels.get(label.key) === label.value;
}

export function createClientReader({ db }: { readonly db: Database }): ClientReader {
  const select = db.prepare<[string], ClientRow>('SELECT * FROM client WHERE id = ?');
  const selectRoles = db.prepare<[string], { readonly role: RoleName }>(
    'SELECT role FROM client_role WHERE client = ? ORDER BY role',
  );
  const selectLabels = db.prepare<[string], { readonly key: string; readonly value: string }>(
    'SELECT key, value FROM client_label WHERE client = ? ORDER BY key',
  );
  const selectKeys = db.prepare<[string], KeyRow>(
    'SELECT * FROM client_key WHERE client = ? ORDER BY created_at, kid',
  );
  const selectKeyRotation = db.prepare<[string], Rotation<Kid>>(
    `SELECT old_kid AS old, new_kid AS new, started_at AS startedAt
       FROM key_rotation WHERE client = ?`,
  );
  const selectSecrets = db.prepare<[string], SecretRow>(
    'SELECT * FROM client_secret WHERE client = ? ORDER BY id',
  );
  const selectSecretRotation = db.prepare<[string], Rotation<number>>(
    `SELECT old_id AS old, new_id AS new, started_at AS startedAt
       FROM secret_rotation WHERE client = ?`,
  );

  const labelsOf = (id: ClientId): Labels =>
    new Map(selectLabels.all(id).map(({ key, value }) => [key, value]));

  const toClient = (row: ClientRow): Client => {
    const { id } = row;
    return {
      id,
      kind: row.kind,
      status: row.status,
      roles: selectRoles.all(id).map(({ role }) => role),
      labels: labelsOf(id),
      keys: selectKeys.all(id).map(toKey),
      keyRotation: selectKeyRotation.get(id),
      secrets: row.kind === 'service' ? selectSecrets.all(id).map(toSecret) : [],
      secretRotation: row.kind === 'service' ? selectSecretRotation.get(id) : undefined,
      mayMint: row.may_mint === 1,
      tokenTtlSeconds: row.token_ttl_seconds ?? undefined,
      tokensNotBefore: row.tokens_not_before,
      limitedToLabel: limitOf(row),
      createdAt: row.created_at,
      version: row.version,
    };
  };

  return {
    client: (id, reach) => {
      const row = select.get(id);
      const client = row && toClient(row);
      return client !== undefined && isWithin(reach, client.labels) ? client : undefined;
    },
    toClient,
    labelsOf,
  };
}
