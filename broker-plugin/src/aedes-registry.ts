/**
 * Carries a change of the registry to the sessions that are there, live and stored.
 *
 * Each client that changed is judged again by the code that let it in. Who may not be here any more
 * is disconnected, and what a revoked or deleted client left is emptied, connected or not; whose
 * rights changed goes on with those it has now, or is disconnected if a subscription was lost. A
 * change can concern every client, so this is done in slices, sessions before what is stored, and
 * the broker goes on between them.
 *
 * Units   milliseconds where a name says so.
 * Errors  none escape; a session that cannot be judged is ended.
 * Source  DESIGN 8, 9 (I2, I4, I5); RFC 9431 3.2; STANDARDS 5.3 (3, 8), 6 (25, 27, 28).
 *
 * @module
 */
import { type ClientId, decide, type Logger, OAuthError } from '@latchkey/shared';
import type { Admissions } from './admission.js';
import type { RightsChanges } from './aedes-rights.js';
import type { Client } from './aedes-types.js';
import { forLog } from './decision-log.js';
import { asError } from './host-hooks.js';
import type { PurgeSession } from './session-purge.js';
import type { SessionRegistrations } from './session-registration.js';
import type { Session, Sessions } from './sessions.js';
import type { RightsOf } from './shared-rights.js';
import type { StoredSessions } from './stored-sessions.js';
import type { WithinTime } from './time-limit.js';
import type { ClientNamespaces } from './trust/client-namespaces.js';
import type { ClientTable } from './trust/client-table.js';

/** Clients or sessions judged at once, which takes a few milliseconds. */
const SLICE = 20;

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Follows the registry until what it returns is called. */
export function followRegistry(deps: {
  readonly clients: ClientTable;
  readonly namespaces: ClientNamespaces;
  readonly admissions: Admissions;
  readonly rightsOf: RightsOf;
  readonly sessions: Sessions;
  readonly rightsChanges: RightsChanges;
  readonly stored: StoredSessions;
  readonly purge: PurgeSession;
  readonly registrations: SessionRegistrations;
  readonly logger: Logger;
  readonly withinTime: WithinTime;
}): () => void {
  const { clients, admissions, rightsOf, sessions, rightsChanges } = deps;
  const { stored, purge, registrations, namespaces, logger, withinTime } = deps;
  /** Clients whose sessions are to be judged. */
  const changed = new Set<ClientId>();
  /** Stored sessions to be fitted to the registry, by MQTT client id, and whose they are. */
  const left = new Map<string, ClientId>();
  let isRunning = false;
  let isStopped = false;

  const logFailure = (clientId: string, thrown: unknown): void => {
    const error = asError(thrown);
    const detail = forLog(
      (error instanceof OAuthError ? error.detail : undefined) ?? error.message,
    );
    logger.error({ event: 'session.failed', clientId, detail }, 'a change could not be applied');
  };

  const changeRights = (session: Session, context: Session['context']): void => {
    const { clientId } = context;
    const client = session.connection as Client;
    withinTime(rightsChanges.swap(client, session, context)).then(
      (endedSubscriptions) => {
        const fields = { event: 'session.changed', clientId, endedSubscriptions };
        logger.info(fields, 'rights of a session changed');
        if (endedSubscriptions > 0) sessions.end(session, 'lost-rights');
      },
      (error: unknown) => {
        logFailure(clientId, error);
        sessions.end(session, 'lost-rights');
      },
    );
  };

  const judge = (session: Session): void => {
    const { context, connection } = session;
    const { id } = connection as Client;
    left.set(id, context.clientId);
    try {
      const next = admissions.again(context);
      if (next === context) return;
      if (session.state === 'live') changeRights(session, next);
      else sessions.end(session); // not accepted yet: the client comes again
    } catch (error) {
      if (!(error instanceof OAuthError)) logFailure(context.clientId, error);
      sessions.end(session, 'revoked');
    }
  };

  /** Whether it is in use now, by a token that is still good. */
  const hasStoredSession = (id: string, clientId: ClientId): boolean =>
    sessions.ofClient(clientId).some(({ connection }) => {
      const client = connection as Client;
      return client.id === id && !client.clean;
    });

  const fitStored = async (id: string, clientId: ClientId): Promise<void> => {
    try {
      const client = clients.find(clientId);
      if (client === undefined || client.status === 'revoked') {
        await purge(id);
        return;
      }
      if (client.status !== 'active') return; // suspended: it gets all back
      if (hasStoredSession(id, clientId)) await registrations.keep(id, client.tokensNotBefore);
      const rights = rightsOf(client.scope);
      await stored.narrow(
        { id },
        ({ topic, qos }) => decide(rights, { action: 'subscribe', topic, qos }).allowed,
      );
    } catch (error) {
      logFailure(clientId, error);
    }
  };

  const runSlice = async (): Promise<void> => {
    let count = 0;
    for (const id of changed) {
      changed.delete(id);
      const same = sessions.ofClient(id);
      for (const session of same) judge(session);
      count += 1 + same.length;
      if (count >= SLICE) return;
    }
    for (const [id, clientId] of left) {
      left.delete(id);
      await fitStored(id, clientId);
      count += 1;
      if (count >= SLICE || changed.size > 0) return;
    }
  };

  const run = async (): Promise<void> => {
    isRunning = true;
    while (!isStopped && changed.size + left.size > 0) {
      await nextTurn();
      await runSlice();
    }
    isRunning = false;
  };

  /** I7: the registry has no say on ids of a third party, not even when it has such a client. */
  const isOurs = (id: ClientId): boolean => namespaces.holderOf(id) === undefined;

  const end = clients.onChange((news) => {
    const ids = news === 'all' ? sessions.clientIds() : news.map(({ id }) => id);
    for (const id of ids) {
      if (!isOurs(id)) continue;
      changed.add(id);
      if (news !== 'all') left.set(id, id);
    }
    if (!isRunning) void run();
  });

  return () => {
    isStopped = true;
    end();
  };
}
