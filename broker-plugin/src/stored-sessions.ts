/**
 * Keeps filters that a client may not have out of its stored session.
 *
 * Aedes stores the whole list of a SUBSCRIBE as soon as one filter of it is granted, and restores
 * what an older, wider token once allowed. A stored filter goes on queueing messages while the
 * client is away, so refusing it at delivery is not enough.
 *
 * And a message waits once for a client: Aedes queues it for each filter that matches, delivers it
 * once, and the copies stay in the queue for ever or, at QoS 2, end the next connection.
 *
 * Units   none.
 * Errors  `UnavailableError` from `narrow`, when the persistence fails.
 * Source  STANDARDS 5.3 (2, 3), 6 (23, 25); DESIGN 9 (I4).
 *
 * @module
 */
import { type Logger, UnavailableError } from '@latchkey/shared';
import type { Persistence, QueueingSubscription, Subscription } from './aedes-types.js';

export interface StoredSessions {
  /** Removes every stored filter that is not allowed; for use before a session is restored. */
  narrow(
    client: { readonly id: string },
    isAllowed: (subscription: Subscription) => boolean,
  ): Promise<void>;
  /** Removes a refused filter, and keeps it from being stored with its granted neighbours. */
  refuse(client: { readonly id: string }, subscription: Subscription): void;
}

/** One for each client, none of QoS 0; the list itself when there is nothing to leave out. */
function onceForEach(
  subscriptions: readonly QueueingSubscription[],
): readonly QueueingSubscription[] {
  const clientIds = new Set<string>();
  for (const { clientId, qos } of subscriptions) if (qos > 0) clientIds.add(clientId);
  if (clientIds.size === subscriptions.length) return subscriptions;
  return subscriptions.filter(({ clientId, qos }) => qos > 0 && clientIds.delete(clientId));
}

export function createStoredSessions(deps: {
  readonly persistence: Persistence;
  readonly logger: Logger;
  /** Whether a client's current rights allow the filter; asked before the filter is stored. */
  readonly isStorable: (client: object, subscription: Subscription) => boolean;
  /** Whether messages may be queued for the client with that MQTT client id. */
  readonly isQueueable: (id: string) => boolean;
}): StoredSessions {
  const { persistence, logger, isStorable, isQueueable } = deps;
  const refused = new WeakSet<Subscription>();

  // The list is stored when its first granted filter is decided, before the later ones are: so each
  // is decided here too. The list itself belongs to the packet and stays as it is.
  const addSubscriptions = persistence.addSubscriptions;
  persistence.addSubscriptions = async (client, subscriptions) => {
    const kept = subscriptions.filter((one) => !refused.has(one) && isStorable(client, one));
    if (kept.length > 0) await addSubscriptions.call(persistence, client, kept);
  };

  const queueable = (found: readonly QueueingSubscription[]): readonly QueueingSubscription[] => {
    if (found.length === 0) return found; // the usual case, for every message of QoS 1 and 2
    const once = onceForEach(found);
    return once.every(({ clientId }) => isQueueable(clientId))
      ? once
      : once.filter(({ clientId }) => isQueueable(clientId));
  };
  const subscriptionsByTopic = persistence.subscriptionsByTopic;
  persistence.subscriptionsByTopic = (topic) =>
    subscriptionsByTopic.call(persistence, topic).then(queueable);

  return {
    narrow: async ({ id }, isAllowed) => {
      try {
        const stored = await persistence.subscriptionsByClient({ id });
        const topics = stored.filter((one) => !isAllowed(one)).map((one) => one.topic);
        if (topics.length > 0) await persistence.removeSubscriptions({ id }, topics);
      } catch (cause) {
        throw new UnavailableError('the stored session cannot be read', { cause });
      }
    },
    refuse: ({ id }, subscription) => {
      refused.add(subscription);
      persistence.removeSubscriptions({ id }, [subscription.topic]).catch((error: unknown) => {
        const detail = error instanceof Error ? error.message : String(error);
        logger.error(
          { event: 'session.failed', clientId: id, detail },
          'a refused filter could not be removed from the stored session',
        );
      });
    },
  };
}
