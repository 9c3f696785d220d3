/**
 * Carries a change of the registry to the sessions that it concerns.
 *
 * Each client that changed is judged again by the code that let it in. Who may not be here any more
 * is disconnected; whose rights changed goes on with those it has now, or is disconnected if a
 * subscription was lost. A change can concern every client, so this is done in slices, sessions
 * before what is stored, and the broker goes on between them.
 *
 * Units   none.
 * Errors  none escape; a session that cannot be judged is ended.
 * Source  DESIGN 8, 9 (I2, I4, I5); RFC 9431 3.2; STANDARDS 5.3 (8), 6 (27, 28).
 *
 * @module
 */
import { type ClientId, type Logger, OAuthError } from '@latchkey/shared';
import type { Admissions } from './admission.js';
import type { RightsChanges } from './aedes-rights.js';
import type { Client } from './aedes-types.js';
import { createBacklog } from './backlog.js';
import { forLog } from './decision-log.js';
import { asError } from './host-hooks.js';
import { createRegisteredSessions, type RegisteredSessions } from './registered-sessions.js';
import type { SessionRegistrations } from './session-registration.js';
import type { Session, Sessions } from './sessions.js';

type StoredDeps = Omit<
  Parameters<typeof createRegisteredSessions>[0],
  'endUnclaimed' | 'sessionsFirst'
>;

/** Follows the registry until it is stopped. */
export function followRegistry(
  deps: StoredDeps & {
    readonly admissions: Admissions;
    readonly sessions: Sessions;
    readonly rightsChanges: RightsChanges;
    readonly registrations: SessionRegistrations;
    readonly logger: Logger;
  },
): Pick<RegisteredSessions, 'isQueueable' | 'stop'> {
  const { clients, namespaces, admissions, sessions, rightsChanges, registrations } = deps;
  const { logger, withinTime } = deps;

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
    const { context } = session;
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

  const changed = createBacklog<ClientId, undefined>((id) => {
    const same = sessions.ofClient(id);
    for (const session of same) {
      stored.fit((session.connection as Client).id, id);
      judge(session);
    }
    return 1 + same.length;
  });

  const stored = createRegisteredSessions({
    ...deps,
    // Whoever was quicker than the news of its registration may have got the session of another.
    endUnclaimed: async (id, clientId, tokensNotBefore) => {
      const inUse = sessions.ofClient(clientId).filter(({ connection }) => {
        const client = connection as Client;
        return client.id === id && !client.clean;
      });
      if (inUse.length === 0 || (await registrations.isClaimed(id, tokensNotBefore))) return;
      for (const session of inUse) sessions.end(session); // it comes back, and claims
    },
    sessionsFirst: changed,
  });

  const end = clients.onChange((news) => {
    const ids = news === 'all' ? sessions.clientIds() : news.map(({ id }) => id);
    for (const id of ids) {
      // I7: the registry has no say on ids of a third party, not even when it has such a client.
      if (namespaces.holderOf(id) !== undefined) continue;
      changed.add(id, undefined);
      if (news !== 'all') stored.fit(id, id);
    }
  });

  return {
    isQueueable: stored.isQueueable,
    stop: () => {
      end();
      changed.stop();
      stored.stop();
    },
  };
}
