/**
 * The one way in which a client that exists is changed: in a transaction that checks what the change
 * is conditional on, before and after, and raises the version.
 *
 * Units   none.
 * Errors  `MissingError`, `OutOfReachError`, `VersionError`; `ConflictError` for a revoked client.
 * Source  DESIGN 5.
 *
 * @module
 */
import type { ClientId, ResourceId } from '@latchkey/shared';
import type { Database } from 'better-sqlite3';
import { type Condition, MissingError, OutOfReachError, type Reach } from '../lifecycle.js';
import { type Client, ConflictError, type Labels } from '../registry.js';
import { type ClientReader, isWithin } from './client-reader.js';
import { checkVersion } from './condition.js';

export interface ClientChanges {
  /** The client, after the checks that come before any change. For use in a transaction. */
  checked(id: ClientId, condition: Condition | undefined): Client;
  /** Refuses roles and labels that an operator with this reach may not give. For use in a transaction. */
  checkReach(reach: Reach | undefined, given: Given): void;
  /** Marks the client as changed. For use in a transaction. */
  touch(id: ClientId): void;
  /** Runs the work and everything around it; returns the client afterwards. */
  change(id: ClientId, condition: Condition | undefined, work: (before: Client) => void): Client;
}

export interface Given {
  readonly roles: readonly string[];
  readonly labels: Labels;
}

const NO_ROLES_THERE =
  'only an operator with the scope all, not limited to a label, may do this: it concerns rights at the management API';

export function createClientChanges(deps: {
  readonly db: Database;
  readonly reader: ClientReader;
}): ClientChanges {
  const { db, reader } = deps;
  const raiseVersion = db.prepare<[string]>('UPDATE client SET version = version + 1 WHERE id = ?');
  const selectRoleAt = db.prepare<
    { roles: string; resource: ResourceId },
    { readonly role: string }
  >(
    `SELECT role_permission.role FROM role_permission
       JOIN permission ON permission.name = role_permission.permission
      WHERE role_permission.role IN (SELECT value FROM json_each(@roles))
        AND permission.resource = @resource LIMIT 1`,
  );

  const checkReach = (reach: Reach | undefined, { roles, labels }: Given): void => {
    if (!isWithin(reach, labels)) {
      throw new OutOfReachError(
        `the operator is limited to the label ${reach?.label?.key}=${reach?.label?.value}, which must be among the labels`,
      );
    }
    const resource = reach?.exceptRolesAt;
    if (resource === undefined || roles.length === 0) return;
    if (selectRoleAt.get({ roles: JSON.stringify(roles), resource }) !== undefined) {
      throw new OutOfReachError(NO_ROLES_THERE);
    }
  };

  const checked = (id: ClientId, condition: Condition | undefined): Client => {
    const client = reader.client(id, condition?.reach);
    if (client === undefined) throw new MissingError('client');
    checkReach(condition?.reach, client);
    checkVersion(client.version, condition);
    return client;
  };

  const touch = (id: ClientId): void => {
    raiseVersion.run(id);
  };

  const change = db.transaction(
    (id: ClientId, condition: Condition | undefined, work: (before: Client) => void): Client => {
      const before = checked(id, condition);
      if (before.status === 'revoked') {
        throw new ConflictError('status', 'is revoked, which is final');
      }
      work(before);
      touch(id);
      const after = reader.client(id) as Client;
      checkReach(condition?.reach, after);
      return after;
    },
  );

  return {
    checked,
    checkReach,
    touch,
    change: (id, condition, work) => change.immediate(id, condition, work),
  };
}
