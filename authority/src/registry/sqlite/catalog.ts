/**
 * Resources, permissions and roles in SQLite: what rights can be made of.
 *
 * Units   NumericDate.
 * Errors  `ConflictError` for a name that is taken, `FormatError` for an unknown reference.
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
import {
  ConflictError,
  type Page,
  type PageRequest,
  type Permission,
  type Resource,
  type ResourceKind,
  type Role,
} from '../registry.js';
import { toPage } from './pages.js';

export interface Catalog {
  createResource(resource: Omit<Resource, 'createdAt'>): Resource;
  resource(identifier: ResourceId): Resource | undefined;
  listResources(page: PageRequest): Page<Resource>;
  createPermission(permission: Omit<Permission, 'createdAt'>): Permission;
  permission(name: PermissionName): Permission | undefined;
  listPermissions(page: PageRequest): Page<Permission>;
  createRole(role: Omit<Role, 'createdAt'>): Role;
  role(name: RoleName): Role | undefined;
  listRoles(page: PageRequest): Page<Role>;
}

interface ResourceRow {
  readonly identifier: ResourceId;
  readonly kind: ResourceKind;
  readonly token_ttl_seconds: number;
  readonly created_at: number;
}
interface PermissionRow {
  readonly name: PermissionName;
  readonly resource: ResourceId;
  readonly scopes: string;
  readonly created_at: number;
}
interface RoleRow {
  readonly name: RoleName;
  readonly created_at: number;
}
interface PageParameters {
  readonly after: string;
  readonly limit: number;
}

const toResource = (row: ResourceRow): Resource => ({
  identifier: row.identifier,
  kind: row.kind,
  tokenTtlSeconds: row.token_ttl_seconds,
  createdAt: row.created_at,
});

const toPermission = (row: PermissionRow): Permission => ({
  name: row.name,
  resource: row.resource,
  scopes: JSON.parse(row.scopes) as string[],
  createdAt: row.created_at,
});

/** Every name is at least one character, so the empty string comes before all of them. */
const pageParameters = ({ after = '', limit }: PageRequest): PageParameters => ({
  after,
  limit: limit + 1,
});

export function createCatalog({ db, clock }: { db: Database; clock: Clock }): Catalog {
  const insertResource = db.prepare<ResourceRow>(
    `INSERT INTO resource (identifier, kind, token_ttl_seconds, created_at)
     VALUES (@identifier, @kind, @token_ttl_seconds, @created_at) ON CONFLICT DO NOTHING`,
  );
  const selectResource = db.prepare<[string], ResourceRow>(
    'SELECT * FROM resource WHERE identifier = ?',
  );
  const selectResources = db.prepare<PageParameters, ResourceRow>(
    'SELECT * FROM resource WHERE identifier > @after ORDER BY identifier LIMIT @limit',
  );
  const insertPermission = db.prepare<PermissionRow>(
    `INSERT INTO permission (name, resource, scopes, created_at)
     VALUES (@name, @resource, @scopes, @created_at) ON CONFLICT DO NOTHING`,
  );
  const selectPermission = db.prepare<[string], PermissionRow>(
    'SELECT * FROM permission WHERE name = ?',
  );
  const selectPermissions = db.prepare<PageParameters, PermissionRow>(
    'SELECT * FROM permission WHERE name > @after ORDER BY name LIMIT @limit',
  );
  const insertRole = db.prepare<RoleRow>(
    'INSERT INTO role (name, created_at) VALUES (@name, @created_at) ON CONFLICT DO NOTHING',
  );
  const insertRolePermission = db.prepare<{ role: string; permission: string }>(
    'INSERT INTO role_permission (role, permission) VALUES (@role, @permission)',
  );
  const selectRole = db.prepare<[string], RoleRow>('SELECT * FROM role WHERE name = ?');
  const selectRoles = db.prepare<PageParameters, RoleRow>(
    'SELECT * FROM role WHERE name > @after ORDER BY name LIMIT @limit',
  );
  const selectRolePermissions = db.prepare<[string], { readonly permission: PermissionName }>(
    'SELECT permission FROM role_permission WHERE role = ? ORDER BY permission',
  );

  const toRole = (row: RoleRow): Role => ({
    name: row.name,
    permissions: selectRolePermissions.all(row.name).map(({ permission }) => permission),
    createdAt: row.created_at,
  });

  const createPermission = db.transaction(
    ({ name, resource, scopes }: Omit<Permission, 'createdAt'>): Permission => {
      const owner = selectResource.get(resource);
      if (owner === undefined) throw new FormatError('resource', 'is not known; create it first');
      if (owner.kind === 'mqtt' && scopes.length === 0) {
        throw new FormatError('scopes', 'must name at least one topic scope for an mqtt resource');
      }
      if (owner.kind === 'http' && scopes.length > 0) {
        throw new FormatError(
          'scopes',
          'must be empty for an http resource, where the name of the permission is the scope',
        );
      }
      const row = { name, resource, scopes: JSON.stringify(scopes), created_at: clock.now() };
      if (insertPermission.run(row).changes === 0) throw new ConflictError('name', 'is taken');
      return toPermission(row);
    },
  );

  const createRole = db.transaction(({ name, permissions }: Omit<Role, 'createdAt'>): Role => {
    const row = { name, created_at: clock.now() };
    if (insertRole.run(row).changes === 0) throw new ConflictError('name', 'is taken');
    for (const permission of new Set(permissions)) {
      if (selectPermission.get(permission) === undefined) {
        throw new FormatError('permissions', `name an unknown permission: ${permission}`);
      }
      insertRolePermission.run({ role: name, permission });
    }
    return toRole(row);
  });

  return {
    createResource: ({ identifier, kind, tokenTtlSeconds }) => {
      const row = {
        identifier,
        kind,
        token_ttl_seconds: tokenTtlSeconds,
        created_at: clock.now(),
      };
      if (insertResource.run(row).changes === 0) throw new ConflictError('identifier', 'is taken');
      return toResource(row);
    },
    resource: (identifier) => {
      const row = selectResource.get(identifier);
      return row && toResource(row);
    },
    listResources: (page) =>
      toPage(
        selectResources.all(pageParameters(page)),
        page.limit,
        toResource,
        (row) => row.identifier,
      ),
    createPermission: (permission) => createPermission.immediate(permission),
    permission: (name) => {
      const row = selectPermission.get(name);
      return row && toPermission(row);
    },
    listPermissions: (page) =>
      toPage(
        selectPermissions.all(pageParameters(page)),
        page.limit,
        toPermission,
        (row) => row.name,
      ),
    createRole: (role) => createRole.immediate(role),
    role: (name) => {
      const row = selectRole.get(name);
      return row && toRole(row);
    },
    listRoles: (page) =>
      toPage(selectRoles.all(pageParameters(page)), page.limit, toRole, (row) => row.name),
  };
}
