/**
 * What an active client may do now, and the key by which it may sign.
 *
 * Units   NumericDate.
 * Errors  none; whoever is not active has nothing.
 * Source  DESIGN 4; RFC 7638 (`kid`).
 *
 * @module
 */
import {
  type ClientId,
  type Clock,
  createPublicKeyCache,
  type PermissionName,
  type PublicKey,
  type ResourceId,
  type RoleName,
} from '@latchkey/shared';
import type { Database } from 'better-sqlite3';
import type { ClientRights, ResourceKind } from '../registry.js';
import { type ClientReader, type ClientRow, type KeyRow, limitOf, toKey } from './client-reader.js';
import { type OptionColumns, toOptions } from './resources.js';

export interface ActiveClients {
  activeKey(id: ClientId, kid: string | undefined): PublicKey | undefined;
  rights(id: ClientId, supposedRoles?: readonly RoleName[]): ClientRights | undefined;
  isActive(id: ClientId): boolean;
}

interface GrantRow extends OptionColumns {
  readonly name: PermissionName;
  readonly resource: ResourceId;
  readonly kind: ResourceKind;
  readonly token_ttl_seconds: number;
  readonly scopes: string;
}

/** `roles`: a table with a column `role`, by the name `client_role`. */
const grantsOf = (roles: string): string =>
  `SELECT DISTINCT permission.name, permission.resource, permission.scopes, resource.kind,
          resource.token_ttl_seconds, resource.signing_alg, resource.narrows_scope,
          resource.has_legacy_claims
     FROM ${roles}
     JOIN role_permission ON role_permission.role = client_role.role
     JOIN permission ON permission.name = role_permission.permission
     JOIN resource ON resource.identifier = permission.resource`;

export function createActiveClients(deps: {
  readonly db: Database;
  readonly clock: Clock;
  readonly reader: ClientReader;
}): ActiveClients {
  const { db, clock, reader } = deps;
  const publicKeys = createPublicKeyCache();
  const selectActive = db.prepare<[string], ClientRow>(
    "SELECT * FROM client WHERE id = ? AND status = 'active'",
  );
  const selectIsActive = db
    .prepare<[string]>("SELECT 1 FROM client WHERE id = ? AND status = 'active'")
    .pluck();
  const activeKeys = `SELECT client_key.* FROM client_key JOIN client ON client.id = client_key.client
      WHERE client.id = @id AND client.status = 'active'
        AND (not_before IS NULL OR not_before <= @now) AND (expires_at IS NULL OR expires_at > @now)`;
  const selectActiveKeys = db.prepare<{ id: ClientId; now: number }, KeyRow>(
    `${activeKeys} LIMIT 2`,
  );
  // By itself, so that it goes by the primary key and not by way of the client's keys.
  const selectActiveKey = db.prepare<{ id: ClientId; kid: string; now: number }, KeyRow>(
    `${activeKeys} AND kid = @kid`,
  );
  const selectGrants = db.prepare<[string], GrantRow>(
    `${grantsOf('client_role')} WHERE client_role.client = ? ORDER BY permission.name`,
  );
  const selectSupposedGrants = db.prepare<[string], GrantRow>(
    `${grantsOf('(SELECT value AS role FROM json_each(?)) AS client_role')} ORDER BY permission.name`,
  );

  // One transaction, so that labels and permissions are of the same moment.
  const rights = db.transaction(
    (id: ClientId, supposedRoles?: readonly RoleName[]): ClientRights | undefined => {
      const row = selectActive.get(id);
      if (row === undefined) return undefined;
      const grants =
        supposedRoles === undefined
          ? selectGrants.all(id)
          : selectSupposedGrants.all(JSON.stringify(supposedRoles));
      const permissions = grants.map((grant) => ({
        name: grant.name,
        resource: grant.resource,
        kind: grant.kind,
        tokenTtlSeconds: grant.token_ttl_seconds,
        scopes: JSON.parse(grant.scopes) as string[],
        ...toOptions(grant),
      }));
      return {
        kind: row.kind,
        mayMint: row.may_mint === 1,
        tokenTtlSeconds: row.token_ttl_seconds ?? undefined,
        tokensNotBefore: row.tokens_not_before,
        limitedToLabel: limitOf(row),
        labels: reader.labelsOf(id),
        permissions,
      };
    },
  );

  return {
    isActive: (id) => selectIsActive.get(id) !== undefined,
    activeKey: (id, kid) => {
      const now = clock.now();
      const rows =
        kid === undefined
          ? selectActiveKeys.all({ id, now })
          : selectActiveKey.all({ id, kid, now });
      const [row] = rows;
      return row === undefined || rows.length > 1 ? undefined : publicKeys.restore(toKey(row));
    },
    rights,
  };
}
