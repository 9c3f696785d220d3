/**
 * Names of the management API as a resource of its own authority, and the scopes that it knows.
 *
 * Units   none.
 * Errors  none.
 * Source  DESIGN 5.
 *
 * @module
 */
import type { Issuer, ResourceId } from '@latchkey/shared';

/** Scope that allows everything at the management API. */
export const MANAGEMENT_SCOPE = 'all';

/** Scopes that each allow a part; one that writes also reads. `init` makes a permission of each. */
export const FINER_SCOPES = [
  'resources:read',
  'resources:write',
  'roles:read',
  'roles:write',
  'clients:read',
  'clients:write',
  'enrollments:read',
  'enrollments:write',
  'signing-keys:read',
  'signing-keys:write',
  'audit:read',
  'feed:read',
  'tokens:introspect',
  'metrics:read',
] as const;

/** A scope that an endpoint of the management API asks for. */
export type FinerScope = (typeof FINER_SCOPES)[number];

/** Audience of an operator's token. */
export function managementResource(issuer: Issuer): ResourceId {
  return `${issuer}/api` as ResourceId;
}
