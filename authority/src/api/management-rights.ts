/**
 * Keeps the catalog's part that is about the management API itself to operators with every right.
 *
 * Units   none.
 * Errors  `OutOfReachError`.
 * Source  DESIGN 5.
 *
 * @module
 */
import type { Issuer, PermissionName, ResourceId } from '@latchkey/shared';
import { managementResource } from '../management.js';
import type { Registry } from '../registry/registry.js';
import { type Operator, requireUnlimited } from './operator.js';

export interface ManagementRights {
  /** Refuses to change what is at the management API. */
  checkResource(operator: Operator, resource: ResourceId | undefined): void;
  /** Refuses when one of the permissions is at the management API. */
  checkPermissions(operator: Operator, names: readonly PermissionName[]): Promise<void>;
}

export function createManagementRights(deps: {
  readonly issuer: Issuer;
  readonly registry: Registry;
}): ManagementRights {
  const { issuer, registry } = deps;
  const own = managementResource(issuer);
  const checkResource: ManagementRights['checkResource'] = (operator, resource) => {
    if (resource === own) requireUnlimited(operator, 'it concerns rights at the management API');
  };
  return {
    checkResource,
    checkPermissions: async (operator, names) => {
      for (const name of new Set(names)) {
        checkResource(operator, (await registry.permission(name))?.resource);
      }
    },
  };
}
