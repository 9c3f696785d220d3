/**
 * `/api/v1/permissions`: named aliases of topic scopes, or plain scopes of an HTTP resource.
 *
 * Units   none.
 * Errors  problem details.
 * Source  DESIGN 4 (Topic scopes).
 *
 * @module
 */
import { parsePermissionName, parseTopicScopeTemplate } from '@latchkey/shared';
import * as v from 'valibot';
import type { Permission, Registry } from '../registry/registry.js';
import { listOf, permissionNameField, resourceField, textField } from './fields.js';
import type { ManagementRights } from './management-rights.js';
import { found, pageAnswer, pageOf, pageQuery, readId } from './noun.js';
import type { Operator } from './operator.js';
import { type Json, type Route, type RouteAnswer, route } from './route.js';

const scopes = listOf(textField((text) => parseTopicScopeTemplate(text, 'scope').text));
const newPermission = v.strictObject({
  name: permissionNameField,
  resource: resourceField,
  scopes: v.optional(scopes, []),
});
const patch = v.strictObject({ scopes });
const shown = v.strictObject({
  name: v.string(),
  resource: v.string(),
  scopes: v.array(v.string()),
  created_at: v.number(),
  version: v.number(),
});

const toJson = ({ name, resource, scopes, createdAt, version }: Permission): Json => ({
  ...{ name, resource, scopes, version },
  created_at: createdAt,
});

const toAnswer = (permission: Permission): RouteAnswer => ({
  body: toJson(permission),
  version: permission.version,
  target: permission.name,
});

const READ = { scope: 'roles:read', concerns: 'fleet' } as const;
const WRITE = { scope: 'roles:write', concerns: 'fleet' } as const;
const idOf = ({ id }: Readonly<Record<string, string>>) =>
  readId((text) => parsePermissionName(text), id, 'permission');

export function permissionRoutes(deps: {
  readonly registry: Registry;
  readonly rights: ManagementRights;
}): readonly Route[] {
  const { registry, rights } = deps;

  /** Id of a permission that the operator may change. */
  const changeable = async (operator: Operator, params: Readonly<Record<string, string>>) => {
    const id = idOf(params);
    await rights.checkPermissions(operator, [id]);
    return id;
  };

  return [
    route({
      method: 'POST',
      path: '/permissions',
      needs: WRITE,
      summary: 'Create a permission',
      body: newPermission,
      answer: shown,
      success: 201,
      change: { event: 'permission.created', subject: 'permission' },
      handle: async ({ operator, body }) => {
        rights.checkResource(operator, body.resource);
        return toAnswer(await registry.createPermission(body));
      },
    }),
    route({
      method: 'GET',
      path: '/permissions',
      needs: READ,
      summary: 'List permissions',
      query: pageQuery,
      answer: pageOf(shown),
      success: 200,
      handle: async ({ query }) => pageAnswer(await registry.listPermissions(query), toJson),
    }),
    route({
      method: 'GET',
      path: '/permissions/:id',
      needs: READ,
      summary: 'Show a permission',
      answer: shown,
      success: 200,
      handle: async ({ params }) =>
        toAnswer(found(await registry.permission(idOf(params)), 'permission')),
    }),
    route({
      method: 'PATCH',
      path: '/permissions/:id',
      needs: WRITE,
      summary: 'Replace the scopes of a permission',
      body: patch,
      answer: shown,
      success: 200,
      isConditional: true,
      change: { event: 'permission.updated', subject: 'permission' },
      handle: async ({ operator, params, body, condition }) =>
        toAnswer(
          await registry.patchPermission(await changeable(operator, params), body, condition),
        ),
    }),
    route({
      method: 'DELETE',
      path: '/permissions/:id',
      needs: WRITE,
      summary: 'Delete a permission that no role holds',
      success: 204,
      isConditional: true,
      change: { event: 'permission.deleted', subject: 'permission' },
      handle: async ({ operator, params, condition }) => {
        const id = await changeable(operator, params);
        await registry.deletePermission(id, condition);
        return { target: id };
      },
    }),
  ];
}
