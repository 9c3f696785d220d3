/**
 * Names of the management API as a resource of its own authority.
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

/** Audience of an operator's token. */
export function managementResource(issuer: Issuer): ResourceId {
  return `${issuer}/api` as ResourceId;
}
