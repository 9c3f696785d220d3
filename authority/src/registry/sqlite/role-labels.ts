/**
 * Labels that roles need for their topic templates: which, and who lacks them.
 *
 * Units   none.
 * Errors  `FormatError` for an unknown role and for a missing label; `ConflictError` for clients that
 *         would lack one.
 * Source  DESIGN 4 (Topic scopes): such a role is not assigned, and such a label is not removed.
 *
 * @module
 */
import { FormatError, parseTopicScopeTemplate, type RoleName } from '@latchkey/shared';
import type { Database } from 'better-sqlite3';
import { ConflictError, type Labels } from '../registry.js';

export interface RoleLabels {
  /** Refuses roles that do not exist, and roles that need a label which is not there. */
  checkRoles(roles: readonly RoleName[], labels: Labels): void;
  /** The same, remembering what roles need: for one transaction, in which that does not change. */
  rememberingCheck(): RoleLabels['checkRoles'];
  /** Keys of the labels that a role needs now. */
  neededBy(role: RoleName): ReadonlySet<string>;
  /**
   * Refuses a change after which a client with one of the roles lacks a label. `before` tells what
   * the roles needed before it; `field` names what was changed.
   */
  checkClients(before: ReadonlyMap<RoleName, ReadonlySet<string>>, field: string): void;
}

export function createRoleLabels({ db }: { db: Database }): RoleLabels {
  const selectRole = db.prepare<[string], { readonly name: RoleName }>(
    'SELECT name FROM role WHERE name = ?',
  );
  const selectScopes = db.prepare<[string], { readonly scopes: string }>(
    `SELECT permission.scopes FROM role_permission
       JOIN permission ON permission.name = role_permission.permission
      WHERE role_permission.role = ?`,
  );
  // A revoked client never has rights again, so what it lacks does not matter.
  const selectLacking = db.prepare<
    { role: RoleName; key: string },
    { readonly count: number; readonly example: string | null }
  >(
    `SELECT count(*) AS count, min(client_role.client) AS example
       FROM client_role JOIN client ON client.id = client_role.client AND client.status <> 'revoked'
      WHERE client_role.role = @role AND NOT EXISTS (
        SELECT 1 FROM client_label WHERE client = client_role.client AND key = @key)`,
  );

  const neededBy = (role: RoleName): ReadonlySet<string> => {
    const keys = selectScopes
      .all(role)
      .flatMap(({ scopes }) => JSON.parse(scopes) as string[])
      .flatMap((text) => parseTopicScopeTemplate(text).labels);
    return new Set(keys);
  };

  const refuseLacking = (role: RoleName, key: string, field: string): void => {
    const { count = 0, example } = selectLacking.get({ role, key }) ?? {};
    if (count === 0) return;
    const who =
      count === 1 ? `the client ${example} lacks` : `${count} clients lack, such as ${example}`;
    throw new ConflictError(
      field,
      `would make the role ${role} need the label ${key}, which ${who}`,
    );
  };

  const neededIfKnown = (role: RoleName): ReadonlySet<string> | undefined =>
    selectRole.get(role) === undefined ? undefined : neededBy(role);

  const checkBy =
    (neededOf: typeof neededIfKnown): RoleLabels['checkRoles'] =>
    (roles, labels) => {
      for (const role of roles) {
        const needed = neededOf(role);
        if (needed === undefined) throw new FormatError('roles', `name an unknown role: ${role}`);
        for (const key of needed) {
          if (!labels.has(key)) {
            throw new FormatError(`labels.${key}`, `is missing; role ${role} needs it`);
          }
        }
      }
    };

  return {
    neededBy,
    checkRoles: checkBy(neededIfKnown),
    rememberingCheck: () => {
      const known = new Map<RoleName, ReadonlySet<string> | undefined>();
      return checkBy((role) => {
        if (!known.has(role)) known.set(role, neededIfKnown(role));
        return known.get(role);
      });
    },
    checkClients: (before, field) => {
      for (const [role, keysBefore] of before) {
        for (const key of neededBy(role)) {
          if (!keysBefore.has(key)) refuseLacking(role, key, field);
        }
      }
    },
  };
}
