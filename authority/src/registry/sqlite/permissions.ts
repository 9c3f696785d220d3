/**
 * Permissions in SQLite: named aliases of topic scopes, or plain scopes of an HTTP resource.
 *
 * Units   NumericDate.
 * Errors  `ConflictError` for a name that is taken or in use, and for scopes that a client lacks a label
 *         for; `FormatError` for an unknown resource; `MissingError`, `VersionError`.
 * Source  DESIGN 4 and 5.
 *
 * @module
 */
import {
  type Clock,
  FormatError,
  type PermissionName,
  type ResourceId,
  type RoleName,
} from '@latchkey/shared';
import type { Database } from 'better-sqlite3';
import { type Condition, MissingError } from '../lifecycle.js';
import {
  ConflictError,
  type NewPermission,
  type Page,
  type PageRequest,
  type Permission,
  type ResourceKind,
} from '../registry.js';
import { checkVersion } from './condition.js';
import { pageParameters, toPage } from './pages.js';
import type { RoleLabels } from './role-labels.js';

export interface Permissions {
  create(permission: NewPermission): Permission;
  permission(name: PermissionName): Permission | undefined;
  list(page: PageRequest): Page<Permission>;
  patch(
    name: PermissionName,
    patch: { readonly scopes: readonly string[] },
    condition?: Condition,
  ): Permission;
  remove(name: PermissionName, condition?: Condition): void;
}

interface Row {
  readonly name: PermissionName;
  readonly resource: ResourceId;
  readonly scopes: string;
  readonly created_at: number;
  readonly version: number;
}

const toPermission = (row: Row): Permission => ({
  name: row.name,
  resource: row.resource,
  scopes: JSON.parse(row.scopes) as string[],
  createdAt: row.created_at,
  version: row.version,
});

function checkScopes(kind: ResourceKind, scopes: readonly string[]): void {
  if (kind === 'mqtt' && scopes.length === 0) {
    throw new FormatError('scopes', 'must name at least one topic scope for an mqtt resource');
  }
  if (kind === 'http' && scopes.length > 0) {
    throw new FormatError(
      'scopes',
      'must be empty for an http resource, where the name of the permission is the scope',
    );
  }
}

export function createPermissions(deps: {
  readonly db: Database;
  readonly clock: Clock;
  readonly roleLabels: RoleLabels;
}): Permissions {
  const { db, clock, roleLabels } = deps;
  const insert = db.prepare<Omit<Row, 'version'>>(
    `INSERT INTO permission (name, resource, scopes, created_at)
     VALUES (@name, @resource, @scopes, @created_at) ON CONFLICT DO NOTHING`,
  );
  const select = db.prepare<[string], Row>('SELECT * FROM permission WHERE name = ?');
  const selectPage = db.prepare<{ after: string; limit: number }, Row>(
    'SELECT * FROM permission WHERE name > @after ORDER BY name LIMIT @limit',
  );
  const selectKind = db.prepare<[string], { readonly kind: ResourceKind }>(
    'SELECT kind FROM resource WHERE identifier = ?',
  );
  const update = db.prepare<{ name: PermissionName; scopes: string }>(
    'UPDATE permission SET scopes = @scopes, version = version + 1 WHERE name = @name',
  );
  const selectRoles = db.prepare<[string], { readonly role: RoleName }>(
    'SELECT role FROM role_permission WHERE permission = ? ORDER BY role',
  );
  const deleteRow = db.prepare<[string]>('DELETE FROM permission WHERE name = ?');

  const permission = (name: PermissionName): Permission | undefined => {
    const row = select.get(name);
    return row && toPermission(row);
  };

  const kindOf = (resource: ResourceId): ResourceKind => {
    const row = selectKind.get(resource);
    if (row === undefined) throw new FormatError('resource', 'is not known; create it first');
    return row.kind;
  };

  const checked = (name: PermissionName, condition: Condition | undefined): Permission => {
    const found = permission(name);
    if (found === undefined) throw new MissingError('permission');
    checkVersion(found.version, condition);
    return found;
  };

  const create = db.transaction(({ name, resource, scopes }: NewPermission): Permission => {
    checkScopes(kindOf(resource), scopes);
    const row = { name, resource, scopes: JSON.stringify(scopes), created_at: clock.now() };
    if (insert.run(row).changes === 0) throw new ConflictError('name', 'is taken');
    return permission(name) as Permission;
  });

  const patch = db.transaction(
    (
      name: PermissionName,
      { scopes }: { readonly scopes: readonly string[] },
      condition?: Condition,
    ): Permission => {
      const { resource } = checked(name, condition);
      checkScopes(kindOf(resource), scopes);
      const roles = selectRoles.all(name).map(({ role }) => role);
      const before = new Map(roles.map((role) => [role, roleLabels.neededBy(role)]));
      update.run({ name, scopes: JSON.stringify(scopes) });
      roleLabels.checkClients(before, 'scopes');
      return permission(name) as Permission;
    },
  );

  const remove = db.transaction((name: PermissionName, condition?: Condition): void => {
    checked(name, condition);
    const [user] = selectRoles.all(name);
    if (user !== undefined) throw new ConflictError('name', `is in use by the role ${user.role}`);
    deleteRow.run(name);
  });

  return {
    create: (newPermission) => create.immediate(newPermission),
    permission,
    list: (page) =>
      toPage(selectPage.all(pageParameters(page)), page.limit, toPermission, (row) => row.name),
    patch: (name, changes, condition) => patch.immediate(name, changes, condition),
    remove: (name, condition) => remove.immediate(name, condition),
  };
}
