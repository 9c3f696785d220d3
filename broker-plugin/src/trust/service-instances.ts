/**
 * Which clients may connect several times at once, as `client_id@instance`.
 *
 * Only services may, and a token does not say who is one. The trust feed does.
 *
 * Units   none.
 * Errors  none.
 * Source  DESIGN 4 (CONNECT), 9 (I2).
 *
 * @module
 */
import type { ClientId } from '@latchkey/shared';
import type { ClientTable } from './client-table.js';

/** `feed`: those whom the feed calls services; `never`: nobody; `any`: everybody. */
export type ServiceInstances = 'feed' | 'never' | 'any';

/** `clients`: `undefined` without a feed, and then it calls nobody a service. */
export function createServiceInstances(
  allowed: ServiceInstances,
  clients: Pick<ClientTable, 'find'> | undefined,
): (clientId: ClientId) => boolean {
  if (allowed === 'feed') return (clientId) => clients?.find(clientId)?.kind === 'service';
  return () => allowed === 'any';
}
