/**
 * Fits a live session to other rights: those of a new token, or of a change in the registry.
 *
 * The rights are swapped in one statement. Then the will is judged again, and live and stored
 * subscriptions that the new rights do not cover end.
 *
 * Units   none.
 * Errors  what the persistence rejects with; the new rights count all the same.
 * Source  DESIGN 4 (renewal in the session), 9 (I4); STANDARDS 5.2, 5.3 (2, 3), 6 (28).
 *
 * @module
 */
import type { Clock, Logger, TopicRequest } from '@latchkey/shared';
import {
  type Client,
  liveSubscriptions,
  type PublishPacket,
  type Subscription,
  unsubscribe,
} from './aedes-types.js';
import type { Authorize } from './authorize.js';
import { type DecisionLog, forLog } from './decision-log.js';
import { asError } from './host-hooks.js';
import type { Session, Sessions } from './sessions.js';
import type { StoredSessions } from './stored-sessions.js';
import type { SessionContext } from './verify-token.js';

export interface RightsChanges {
  /** Answers with how many live subscriptions ended. */
  swap(client: Client, session: Session, context: SessionContext): Promise<number>;
  /** Ends what a SUBSCRIBE, decided before a swap, has set up after it. */
  recheck(client: Client): void;
}

export function createRightsChanges(deps: {
  readonly sessions: Sessions;
  readonly stored: StoredSessions;
  readonly authorize: Authorize;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly decisions: DecisionLog;
  readonly sessionOf: (client: Client) => Session | undefined;
  readonly isAllowedFilter: (context: SessionContext, subscription: Subscription) => boolean;
}): RightsChanges {
  const { sessions, stored, authorize, clock, logger, decisions, sessionOf, isAllowedFilter } =
    deps;
  const changed = new WeakSet<Session>();

  /** Live and stored subscriptions that the rights of the session do not cover. */
  const endUncovered = async (client: Client, { context }: Session): Promise<number> => {
    const isAllowed = (subscription: Subscription) => isAllowedFilter(context, subscription);
    const topics = liveSubscriptions(client)
      .filter((subscription) => !isAllowed(subscription))
      .map(({ topic }) => topic);
    if (topics.length > 0) await unsubscribe(client, topics);
    if (!client.clean) await stored.narrow(client, isAllowed);
    return topics.length;
  };

  /** A will that the new rights do not allow is not published when the session ends. */
  const judgeWill = (context: SessionContext, will: Session['will']): Session['will'] => {
    if (will === undefined) return undefined;
    const { topic, qos = 0, retain = false } = will.packet as PublishPacket;
    const request: TopicRequest = { action: 'publish', topic, qos, retain };
    const decision = authorize(context, request, clock.now());
    decisions.write(context, request, decision);
    return decision.allowed ? { packet: will.packet, decision } : undefined;
  };

  return {
    swap: (client, session, context) => {
      sessions.renew(session, context, judgeWill(context, session.will));
      changed.add(session);
      return endUncovered(client, session);
    },
    recheck: (client) => {
      const session = sessionOf(client);
      if (session?.state !== 'live' || !changed.has(session)) return;
      if (clock.now() >= session.context.expiresAt) return; // the sweep ends it
      endUncovered(client, session).catch((error: unknown) => {
        const { clientId } = session.context;
        const detail = forLog(asError(error).message);
        logger.error({ event: 'session.failed', clientId, detail }, 'rights could not be changed');
        sessions.end(session);
      });
    },
  };
}
