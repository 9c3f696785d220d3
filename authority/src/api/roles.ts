/**
 * `/api/v1/roles`: named sets of permissions.
 *
 * Units   none.
 * Errors  problem details.
 * Source  DESIGN 4.
 *
 * @module
 */
import {
  type Logger,
  parsedBy,
  parsePermissionName,
  parseRoleName,
  parseWith,
} from '@latchkey/shared';
import * as v from 'valibot';
import type { Registry, Role } from '../registry/registry.js';
import { listOf } from './fields.js';
import type { Noun } from './noun.js';

const schema = v.strictObject({
  name: v.pipe(v.string(), parsedBy(parseRoleName)),
  permissions: v.pipe(
    listOf((value) => parsePermissionName(value)),
    v.minLength(1, 'must name at least one permission'),
  ),
});

const toJson = ({ name, permissions, createdAt }: Role) => ({
  name,
  permissions,
  created_at: createdAt,
});

export function rolesNoun(deps: {
  readonly registry: Registry;
  readonly logger: Logger;
}): Noun<Role> {
  const { registry, logger } = deps;
  return {
    name: 'role',
    path: '/roles',
    create: async (body) => {
      const role = await registry.createRole(parseWith(schema, body, 'the request'));
      logger.info({ event: 'role.created', role: role.name }, 'role created');
      return toJson(role);
    },
    show: async (id) => registry.role(parseRoleName(id)),
    list: (page) => registry.listRoles(page),
    toJson,
  };
}
