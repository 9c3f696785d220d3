/**
 * `/api/v1/roles`: named sets of permissions.
 *
 * Units   none.
 * Errors  problem details.
 * Source  DESIGN 4.
 *
 * @module
 */
import { type PermissionName, parseRoleName, type RoleName } from '@latchkey/shared';
import * as v from 'valibot';
import { MANAGEMENT_SCOPE } from '../management.js';
import { ConflictError, type Registry, type Role } from '../registry/registry.js';
import { listOf, permissionNameField, roleNameField } from './fields.js';
import type { ManagementRights } from './management-rights.js';
import { found, pageAnswer, pageOf, pageQuery, readId } from './noun.js';
import type { Operator } from './operator.js';
import { type Json, type Route, type RouteAnswer, route } from './route.js';

const permissions = v.pipe(
  listOf(permissionNameField),
  v.minLength(1, 'must name at least one permission'),
);
const newRole = v.strictObject({ name: roleNameField, permissions });
const patch = v.strictObject({ permissions });
const shown = v.strictObject({
  name: v.string(),
  permissions: v.array(v.string()),
  created_at: v.number(),
  version: v.number(),
});

const toJson = ({ name, permissions: held, createdAt, version }: Role): Json => ({
  ...{ name, permissions: held, version },
  created_at: createdAt,
});

const toAnswer = (role: Role): RouteAnswer => ({
  body: toJson(role),
  version: role.version,
  target: role.name,
});

const READ = { scope: 'roles:read', concerns: 'fleet' } as const;
const WRITE = { scope: 'roles:write', concerns: 'fleet' } as const;
const idOf = ({ id }: Readonly<Record<string, string>>) =>
  readId((text) => parseRoleName(text), id, 'role');

export function roleRoutes(deps: {
  readonly registry: Registry;
  readonly rights: ManagementRights;
}): readonly Route[] {
  const { registry, rights } = deps;

  /** A role that the operator may change; who holds `all` by it must not take that from itself. */
  const changeable = async (
    operator: Operator,
    name: RoleName,
    after: readonly PermissionName[],
  ): Promise<Role> => {
    const role = found(await registry.role(name), 'role');
    await rights.checkPermissions(operator, [...role.permissions, ...after]);
    const losesAll = [role, { permissions: after }].map(({ permissions: held }) =>
      held.some((permission) => permission === MANAGEMENT_SCOPE),
    );
    const own = await registry.client(operator.clientId);
    if (losesAll[0] && !losesAll[1] && own?.roles.includes(name)) {
      throw new ConflictError('permissions', 'would take the scope all from yourself');
    }
    return role;
  };

  return [
    route({
      method: 'POST',
      path: '/roles',
      needs: WRITE,
      summary: 'Create a role',
      body: newRole,
      answer: shown,
      success: 201,
      change: { event: 'role.created', subject: 'role' },
      handle: async ({ operator, body }) => {
        await rights.checkPermissions(operator, body.permissions);
        return toAnswer(await registry.createRole(body, operator.reach));
      },
    }),
    route({
      method: 'GET',
      path: '/roles',
      needs: READ,
      summary: 'List roles',
      query: pageQuery,
      answer: pageOf(shown),
      success: 200,
      handle: async ({ query }) => pageAnswer(await registry.listRoles(query), toJson),
    }),
    route({
      method: 'GET',
      path: '/roles/:id',
      needs: READ,
      summary: 'Show a role',
      answer: shown,
      success: 200,
      handle: async ({ params }) => toAnswer(found(await registry.role(idOf(params)), 'role')),
    }),
    route({
      method: 'PATCH',
      path: '/roles/:id',
      needs: WRITE,
      summary: 'Replace the permissions of a role',
      body: patch,
      answer: shown,
      success: 200,
      isConditional: true,
      change: { event: 'role.updated', subject: 'role' },
      handle: async ({ operator, params, body, condition }) => {
        const { name } = await changeable(operator, idOf(params), body.permissions);
        return toAnswer(await registry.patchRole(name, body, condition));
      },
    }),
    route({
      method: 'DELETE',
      path: '/roles/:id',
      needs: WRITE,
      summary: 'Delete a role that no client and no live enrollment code has',
      success: 204,
      isConditional: true,
      change: { event: 'role.deleted', subject: 'role' },
      handle: async ({ operator, params, condition }) => {
        const { name, permissions: held } = found(await registry.role(idOf(params)), 'role');
        await rights.checkPermissions(operator, held);
        await registry.deleteRole(name, condition);
        return { target: name };
      },
    }),
  ];
}
