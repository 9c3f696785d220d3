/**
 * Roles in SQLite: named sets of permissions.
 *
 * Units   NumericDate.
 * Errors  `ConflictError` for a name that is taken or in use, and for permissions that a client lacks a
 *         label for; `FormatError` for an unknown permission; `MissingError`, `OutOfReachError`,
 *         `VersionError`.
 * Source  DESIGN 4 and 5.
 *
 * @module
 */
import { type Clock, FormatError, type PermissionName, type RoleName } from '@latchkey/shared';
import type { Database } from 'better-sqlite3';
import { type Condition, MissingError, OutOfReachError, type Reach } from '../lifecycle.js';
import {
  ConflictError,
  type NewRole,
  type Page,
  type PageRequest,
  type Role,
} from '../registry.js';
import { checkVersion } from './condition.js';
import { pageParameters, toPage } from './pages.js';
import type { RoleLabels } from './role-labels.js';

export interface Roles {
  create(role: NewRole, reach?: Reach): Role;
  role(name: RoleName): Role | undefined;
  list(page: PageRequest): Page<Role>;
  patch(
    name: RoleName,
    patch: { readonly permissions: readonly PermissionName[] },
    condition?: Condition,
  ): Role;
  remove(name: RoleName, condition?: Condition): void;
}

interface Row {
  readonly name: RoleName;
  readonly created_at: number;
  readonly version: number;
}
interface Users {
  readonly count: number;
  readonly example: string | number | null;
}

export function createRoles(deps: {
  readonly db: Database;
  readonly clock: Clock;
  readonly roleLabels: RoleLabels;
}): Roles {
  const { db, clock, roleLabels } = deps;
  const insert = db.prepare<Omit<Row, 'version'>>(
    'INSERT INTO role (name, created_at) VALUES (@name, @created_at) ON CONFLICT DO NOTHING',
  );
  const insertPermission = db.prepare<{ role: string; permission: string }>(
    'INSERT INTO role_permission (role, permission) VALUES (@role, @permission)',
  );
  const deletePermission = db.prepare<{ role: string; permission: string }>(
    'DELETE FROM role_permission WHERE role = @role AND permission = @permission',
  );
  const selectKnown = db.prepare<[string], { readonly name: string }>(
    'SELECT name FROM permission WHERE name = ?',
  );
  const selectIsAt = db
    .prepare<[string, string]>('SELECT 1 FROM permission WHERE name = ? AND resource = ?')
    .pluck();
  const select = db.prepare<[string], Row>('SELECT * FROM role WHERE name = ?');
  const selectPage = db.prepare<{ after: string; limit: number }, Row>(
    'SELECT * FROM role WHERE name > @after ORDER BY name LIMIT @limit',
  );
  const selectPermissions = db.prepare<[string], { readonly permission: PermissionName }>(
    'SELECT permission FROM role_permission WHERE role = ? ORDER BY permission',
  );
  const raiseVersion = db.prepare<[string]>('UPDATE role SET version = version + 1 WHERE name = ?');
  const selectClients = db.prepare<[string], Users>(
    'SELECT count(*) AS count, min(client) AS example FROM client_role WHERE role = ?',
  );
  const isOver = '(uses_left = 0 OR expires_at <= @now OR revoked_at IS NOT NULL)';
  const deleteSpent = db.prepare<{ role: string; now: number }>(
    `DELETE FROM enrollment_role WHERE role = @role
        AND enrollment IN (SELECT id FROM enrollment WHERE ${isOver})`,
  );
  const selectEnrollments = db.prepare<[string], Users>(
    'SELECT count(*) AS count, min(enrollment) AS example FROM enrollment_role WHERE role = ?',
  );
  const deleteRow = db.prepare<[string]>('DELETE FROM role WHERE name = ?');
  const deleteRowPermissions = db.prepare<[string]>('DELETE FROM role_permission WHERE role = ?');

  const permissionsOf = (name: string): readonly PermissionName[] =>
    selectPermissions.all(name).map(({ permission }) => permission);

  const toRole = (row: Row): Role => ({
    name: row.name,
    permissions: permissionsOf(row.name),
    createdAt: row.created_at,
    version: row.version,
  });

  const role = (name: RoleName): Role | undefined => {
    const row = select.get(name);
    return row && toRole(row);
  };

  /** In the transaction: what a permission or a role holds may have changed since it was looked at. */
  const checkReach = (names: readonly PermissionName[], reach: Reach | undefined): void => {
    const resource = reach?.exceptRolesAt;
    if (resource === undefined) return;
    if (names.some((name) => selectIsAt.get(name, resource) !== undefined)) {
      throw new OutOfReachError('the role concerns rights at the management API');
    }
  };

  const checked = (name: RoleName, condition: Condition | undefined): Role => {
    const found = role(name);
    if (found === undefined) throw new MissingError('role');
    checkVersion(found.version, condition);
    checkReach(found.permissions, condition?.reach);
    return found;
  };

  /** Touches only what differs, so that unchanged permissions are no change to any client. */
  const setPermissions = (name: RoleName, permissions: ReadonlySet<PermissionName>): void => {
    const before = new Set(permissionsOf(name));
    for (const permission of before) {
      if (!permissions.has(permission)) deletePermission.run({ role: name, permission });
    }
    for (const permission of permissions) {
      if (selectKnown.get(permission) === undefined) {
        throw new FormatError('permissions', `name an unknown permission: ${permission}`);
      }
      if (!before.has(permission)) insertPermission.run({ role: name, permission });
    }
  };

  const create = db.transaction(({ name, permissions }: NewRole, reach?: Reach): Role => {
    checkReach(permissions, reach);
    const { changes } = insert.run({ name, created_at: clock.now() });
    if (changes === 0) throw new ConflictError('name', 'is taken');
    setPermissions(name, new Set(permissions));
    return role(name) as Role;
  });

  const patch = db.transaction(
    (
      name: RoleName,
      { permissions }: { readonly permissions: readonly PermissionName[] },
      condition?: Condition,
    ): Role => {
      checked(name, condition);
      checkReach(permissions, condition?.reach);
      const before = new Map([[name, roleLabels.neededBy(name)]]);
      setPermissions(name, new Set(permissions));
      raiseVersion.run(name);
      roleLabels.checkClients(before, 'permissions');
      return role(name) as Role;
    },
  );

  const refuseUsed = (users: Users | undefined, noun: string): void => {
    const { count = 0, example } = users ?? {};
    if (count === 0) return;
    const who =
      count === 1 ? `the ${noun} ${example}` : `${count} ${noun}s, such as ${noun} ${example}`;
    throw new ConflictError('name', `is in use by ${who}`);
  };

  const remove = db.transaction((name: RoleName, condition?: Condition): void => {
    checked(name, condition);
    refuseUsed(selectClients.get(name), 'client');
    deleteSpent.run({ role: name, now: clock.now() });
    refuseUsed(selectEnrollments.get(name), 'enrollment');
    deleteRowPermissions.run(name);
    deleteRow.run(name);
  });

  return {
    create: (newRole, reach) => create.immediate(newRole, reach),
    role,
    list: (page) =>
      toPage(selectPage.all(pageParameters(page)), page.limit, toRole, (row) => row.name),
    patch: (name, changes, condition) => patch.immediate(name, changes, condition),
    remove: (name, condition) => remove.immediate(name, condition),
  };
}
