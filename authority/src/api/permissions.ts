/**
 * `/api/v1/permissions`: named aliases of topic scopes, or plain scopes of an HTTP resource.
 *
 * Units   none.
 * Errors  problem details.
 * Source  DESIGN 4 (Topic scopes).
 *
 * @module
 */
import {
  type Logger,
  parsedBy,
  parsePermissionName,
  parseResourceId,
  parseTopicScopeTemplate,
  parseWith,
} from '@latchkey/shared';
import * as v from 'valibot';
import type { Permission, Registry } from '../registry/registry.js';
import { listOf } from './fields.js';
import type { Noun } from './noun.js';

const schema = v.strictObject({
  name: v.pipe(v.string(), parsedBy(parsePermissionName)),
  resource: v.pipe(v.string(), parsedBy(parseResourceId)),
  scopes: v.optional(
    listOf((text) => parseTopicScopeTemplate(text, 'scope').text),
    [],
  ),
});

const toJson = ({ name, resource, scopes, createdAt }: Permission) => ({
  name,
  resource,
  scopes,
  created_at: createdAt,
});

export function permissionsNoun(deps: {
  readonly registry: Registry;
  readonly logger: Logger;
}): Noun<Permission> {
  const { registry, logger } = deps;
  return {
    name: 'permission',
    path: '/permissions',
    create: async (body) => {
      const permission = await registry.createPermission(parseWith(schema, body, 'the request'));
      logger.info(
        { event: 'permission.created', permission: permission.name },
        'permission created',
      );
      return toJson(permission);
    },
    show: async (id) => registry.permission(parsePermissionName(id)),
    list: (page) => registry.listPermissions(page),
    toJson,
  };
}
