/**
 * Fits stored sessions to the registry: empties what a revoked or deleted client left, and takes out
 * the filters that a client may not have any more, connected or not.
 *
 * A change says whom it concerns. What no change told of, because the broker was down or got a fresh
 * snapshot, is found when a message would be queued for it: none is, and the session is emptied.
 *
 * Units   none.
 * Errors  none escape; a session that cannot be fitted is logged, and judged again when it is claimed.
 * Source  STANDARDS 5.3 (3), 6 (25, 27, 28); DESIGN 9 (I4, I5, I7).
 *
 * @module
 */
import { type ClientId, decide, type Logger, type NumericDate } from '@latchkey/shared';
import { type Backlog, createBacklog } from './backlog.js';
import { forLog } from './decision-log.js';
import { asError } from './host-hooks.js';
import type { PurgeSession } from './session-purge.js';
import type { RightsOf } from './shared-rights.js';
import type { StoredSessions } from './stored-sessions.js';
import type { WithinTime } from './time-limit.js';
import type { ClientNamespaces } from './trust/client-namespaces.js';
import type { ClientTable } from './trust/client-table.js';

export interface RegisteredSessions {
  /** Fits the stored session with that MQTT client id to what the registry says of the client. */
  fit(id: string, clientId: ClientId): void;
  /** Whether messages may be queued for that MQTT client id. */
  isQueueable(id: string): boolean;
  stop(): void;
}

export function createRegisteredSessions(deps: {
  readonly clients: ClientTable;
  readonly namespaces: ClientNamespaces;
  readonly rightsOf: RightsOf;
  readonly stored: StoredSessions;
  readonly purge: PurgeSession;
  /** Disconnects who uses a session that was not claimed under this `tokensNotBefore`. */
  readonly endUnclaimed: (
    id: string,
    clientId: ClientId,
    tokensNotBefore: NumericDate,
  ) => Promise<void>;
  /** Whether a client has that id now, here. Whoever is connected was judged. */
  readonly isConnected: (id: string) => boolean;
  readonly logger: Logger;
  readonly withinTime: WithinTime;
  /** Is done before. */
  readonly sessionsFirst: Pick<Backlog<unknown, unknown>, 'size'>;
}): RegisteredSessions {
  const { clients, namespaces, rightsOf, stored, purge, endUnclaimed, isConnected } = deps;
  const { logger, withinTime, sessionsFirst } = deps;

  const fit = async (id: string, clientId: ClientId): Promise<void> => {
    const client = clients.find(clientId);
    if (client === undefined || client.status === 'revoked') return purge(id);
    if (client.status !== 'active') return; // suspended: it gets all back
    await endUnclaimed(id, clientId, client.tokensNotBefore);
    const rights = rightsOf(client.scope, client.id);
    await stored.narrow(
      { id },
      ({ topic, qos }) => decide(rights, { action: 'subscribe', topic, qos }).allowed,
    );
  };

  const backlog = createBacklog<string, ClientId>(async (id, clientId) => {
    try {
      await withinTime(fit(id, clientId));
    } catch (error) {
      const detail = forLog(asError(error).message);
      logger.error({ event: 'session.failed', clientId, detail }, 'a stored session is not fitted');
    }
    return 1;
  }, sessionsFirst);

  return {
    fit: backlog.add,
    isQueueable: (id) => {
      if (isConnected(id) || !clients.isWhole) return true;
      const clientId = id.replace(/@.*/s, '') as ClientId;
      if (namespaces.holderOf(clientId) !== undefined) return true;
      const client = clients.find(clientId);
      if (client !== undefined && client.status !== 'revoked') return true;
      backlog.add(id, clientId);
      return false;
    },
    stop: backlog.stop,
  };
}
