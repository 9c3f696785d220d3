/**
 * The hooks of a session's traffic: `authorizePublish`, `authorizeSubscribe`, `authorizeForward`.
 *
 * All three decide synchronously from the session's context; the host's hooks come after and can
 * only deny.
 *
 * Units   none.
 * Errors  none escape. A refused publication closes the connection, the one answer MQTT 3.1.1 has; in
 *         MQTT 5 it gets PUBACK or PUBREC 0x87, and closes the connection at QoS 0. A refused filter
 *         gets SUBACK 128 or a code of MQTT 5; a refused delivery is dropped.
 * Source  STANDARDS 1.6, 5.2, 5.3 (1 to 6, 12, 14, 15), 5.4; DESIGN 9 (I2 to I5).
 *
 * @module
 */
import type { Clock, Logger, TopicRequest } from '@latchkey/shared';
import {
  type Aedes,
  type Client,
  type Compose,
  type ForwardPacket,
  isMqtt5,
  type PublishPacket,
  type Subscription,
} from './aedes-types.js';
import { type ApprovedWills, dropWillDelay } from './approved-wills.js';
import type { Authorize, TopicDecision } from './authorize.js';
import { type DecisionLog, forLog } from './decision-log.js';
import { asError, once, runHost } from './host-hooks.js';
import type { Session } from './sessions.js';
import type { SessionContext } from './verify-token.js';

export interface TrafficHooks {
  readonly authorizePublish: Compose<'authorizePublish'>;
  readonly authorizeSubscribe: Compose<'authorizeSubscribe'>;
  readonly authorizeForward: Compose<'authorizeForward'>;
  /** Decides a filter; a refusal is logged, what is allowed will be once more and then is. */
  decideFilter(client: Client, subscription: Subscription): TopicDecision | undefined;
  /** Whether the rights allow the filter now, without a line in the log. */
  isAllowedFilter(context: SessionContext, subscription: Subscription): boolean;
}

/**
 * Aedes answers a refused delivery to a stored session by clearing the queued message with the same
 * message id. A live message has none yet, so it would clear the first waiting message that has none
 * either: another one. No queue has this id.
 */
const NO_MESSAGE_ID = -1;

export function createTrafficHooks(deps: {
  readonly broker: Aedes;
  readonly authorize: Authorize;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly decisions: DecisionLog;
  readonly sessionOf: (client: Client) => Session | undefined;
  readonly wills: ApprovedWills;
  /** Ends the session, if there is one, and closes the connection, but not within this call. */
  readonly closeLater: (client: Client) => void;
  /** Ends the session at once, telling a client of MQTT 5 that it is not authorized. */
  readonly endUnauthorized: (client: Client) => void;
  /** Keeps a refused filter out of the stored session. */
  readonly forget: (client: Client, subscription: Subscription) => void;
  /** A will that another broker left behind and nobody here can answer for. */
  readonly dropWill: (will: PublishPacket) => void;
}): TrafficHooks {
  const { broker, clock, logger, decisions, sessionOf, closeLater, forget, dropWill } = deps;
  const { authorize, wills, endUnauthorized } = deps;

  const isExpired = (client: Client): boolean => {
    const expiresAt = sessionOf(client)?.context.expiresAt;
    return expiresAt !== undefined && clock.now() >= expiresAt;
  };

  /** Decides and logs. */
  const decide = (session: Session, request: TopicRequest): boolean => {
    const decision = authorize(session.context, request, clock.now());
    decisions.write(session.context, request, decision);
    return decision.allowed;
  };

  const publication = ({ topic, qos, retain }: PublishPacket): TopicRequest => ({
    action: 'publish',
    topic,
    qos,
    retain,
  });

  const refuseStranger = (client: Client, action: string, topic: string): void => {
    const fields = { event: `${action}.refused`, topic: forLog(topic), reason: 'no-session' };
    logger.warn(fields, `${action} refused`);
    closeLater(client);
  };

  const isPublishAllowed = (
    client: Client | null,
    session: Session | undefined,
    packet: PublishPacket,
  ): boolean => {
    if (client === null) {
      const fields = {
        event: 'publish.refused',
        topic: forLog(packet.topic),
        reason: 'stale-will',
      };
      logger.warn(fields, 'a will of another broker is dropped');
      dropWill(packet);
      return false;
    }
    if (session === undefined) {
      refuseStranger(client, 'publish', packet.topic);
      return false;
    }
    if (wills.isApproved(client, session, packet)) {
      const { decision } = session.will as NonNullable<Session['will']>;
      decisions.write(session.context, publication(packet), decision);
      return true;
    }
    // What is no PUBLISH is a will, and the only one that may pass just did.
    return session.state === 'live' && packet.cmd === 'publish'
      ? decide(session, publication(packet))
      : false;
  };

  const authorizePublish: Compose<'authorizePublish'> = (host) => (client, packet, callback) => {
    const answer = once(callback);
    const session = client === null ? undefined : sessionOf(client);
    const refuse = (): void => {
      answer(new Error('not authorized to publish'));
      if (client === null || !isMqtt5(client) || packet.cmd !== 'publish') return;
      // MQTT 5 has an answer that says so, but not at QoS 0 (RFC 9431 3.1), nor for one that is over.
      if (packet.qos === 0 || isExpired(client)) endUnauthorized(client);
    };
    try {
      if (!isPublishAllowed(client, session, packet)) return refuse();
      const { topic, qos, retain } = packet;
      const hostAnswered = (error?: Error | null): void => {
        if (error) {
          answer(error);
          return;
        }
        // The host may take its time, and may have written into the packet.
        const isSame = packet.topic === topic && packet.qos === qos && packet.retain === retain;
        const isStillAllowed =
          client !== null &&
          session !== undefined &&
          (wills.isApproved(client, session, packet)
            ? isSame
            : session.state === 'live' &&
              !client.closed &&
              (isSame || decide(session, publication(packet))));
        if (!isStillAllowed) {
          refuse();
          return;
        }
        if (packet.cmd !== 'publish') dropWillDelay(packet);
        answer(null);
      };
      runHost(() => host.call(broker, client, packet, hostAnswered), refuse);
    } catch (error) {
      logger.error({ event: 'publish.failed', detail: asError(error).stack }, 'unexpected error');
      refuse();
    }
  };

  const subscription = ({ topic, qos }: Subscription): TopicRequest => ({
    action: 'subscribe',
    topic,
    qos,
  });

  const authorizeSubscribe: Compose<'authorizeSubscribe'> =
    (host) => (client, requested, callback) => {
      const answer = once(callback);
      // Never an error: it would close the connection and, on restoring, lock the client out.
      const refuse = (): void => {
        if (sessionOf(client) !== undefined && !client.clean) forget(client, requested);
        answer(null, null);
      };
      try {
        const session = sessionOf(client);
        if (session === undefined) {
          refuseStranger(client, 'subscribe', requested.topic);
          return refuse();
        }
        if (session.state === 'ended' || !decide(session, subscription(requested))) return refuse();
        const { topic, qos } = requested;
        runHost(
          () =>
            host.call(broker, client, requested, (error, granted) => {
              if (error || typeof granted !== 'object' || granted === null) return refuse();
              const isSame = granted.topic === topic && granted.qos <= qos;
              if (session.state === 'ended') return refuse();
              if (!isSame && !decide(session, subscription(granted))) return refuse();
              answer(null, granted);
            }),
          refuse,
        );
      } catch (error) {
        const detail = asError(error).stack;
        logger.error({ event: 'subscribe.failed', detail }, 'unexpected error');
        refuse();
      }
    };

  const isDeliveryAllowed = (client: Client, packet: ForwardPacket): boolean => {
    const session = sessionOf(client);
    if (session === undefined) {
      refuseStranger(client, 'receive', packet.topic);
      return false;
    }
    // Before CONNACK nothing may be sent; what is queued is sent after it.
    if (session.state !== 'live') return false;
    const request: TopicRequest = { action: 'receive', topic: packet.topic };
    const decision = authorize(session.context, request, clock.now());
    if (decision.allowed) return true;
    decisions.write(session.context, request, decision);
    if (decision.reason === 'expired') closeLater(client);
    return false;
  };

  const authorizeForward: Compose<'authorizeForward'> = (host) => (client, packet) => {
    const refuse = (): null => {
      if (!packet.messageId) packet.messageId = NO_MESSAGE_ID;
      return null;
    };
    try {
      const { topic } = packet;
      if (!isDeliveryAllowed(client, packet)) return refuse();
      const granted = host.call(broker, client, packet);
      if (!granted || typeof granted !== 'object') return refuse();
      // A hook of the host may have put another topic in.
      if (granted.topic !== topic && !isDeliveryAllowed(client, granted)) return refuse();
      return granted;
    } catch (error) {
      logger.error({ event: 'receive.failed', detail: asError(error).stack }, 'unexpected error');
      return refuse();
    }
  };

  return {
    authorizePublish,
    authorizeSubscribe,
    authorizeForward,
    decideFilter: (client, requested) => {
      const session = sessionOf(client);
      if (session?.state !== 'live') return undefined;
      const request = subscription(requested);
      const decision = authorize(session.context, request, clock.now());
      if (!decision.allowed) decisions.write(session.context, request, decision);
      return decision;
    },
    isAllowedFilter: (context, requested) =>
      authorize(context, subscription(requested), clock.now()).allowed,
  };
}
