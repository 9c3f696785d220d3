/**
 * Bounds how many messages wait for a client with a stored session.
 *
 * Aedes queues without end: whoever may publish could fill memory or disk through one device that is
 * away. Beyond the bound the newest message is dropped, for that client alone. A client that is
 * connected and does not acknowledge is disconnected by it, as Aedes finds the message missing.
 * What was stored before this broker started is not counted.
 *
 * Units   messages.
 * Errors  what the persistence rejects with.
 * Source  DESIGN 9 (I11); MQTT 3.1.1 4.1 (a server may bound its storage).
 *
 * @module
 */
import type { Logger } from '@latchkey/shared';
import type { Persistence, QueueingSubscription } from './aedes-types.js';
import { forLog } from './decision-log.js';
import type { Notify } from './notices.js';

export function boundQueues(deps: {
  readonly persistence: Persistence;
  readonly logger: Logger;
  readonly notify: Notify;
  readonly maxQueued: number;
}): void {
  const { persistence, logger, notify, maxQueued } = deps;
  const sizes = new Map<string, number>();
  /** Told of once, until something leaves the queue. */
  const full = new Set<string>();

  const enter = (id: string): boolean => {
    const size = sizes.get(id) ?? 0;
    if (size < maxQueued) {
      sizes.set(id, size + 1);
      return true;
    }
    notify('message-dropped', { mqttClientId: id });
    if (!full.has(id)) {
      full.add(id);
      const fields = { event: 'queue.full', mqttClientId: forLog(id), messages: size };
      logger.warn(fields, 'as many messages wait for the client as may; newer ones are dropped');
    }
    return false;
  };

  const leave = (id: string): void => {
    const size = (sizes.get(id) ?? 0) - 1;
    full.delete(id);
    if (size > 0) sizes.set(id, size);
    else sizes.delete(id);
  };

  const { outgoingEnqueue, outgoingEnqueueCombi, outgoingClearMessageId, cleanSubscriptions } =
    persistence;
  persistence.outgoingEnqueue = async (subscription, packet) => {
    if (enter(subscription.clientId)) await outgoingEnqueue.call(persistence, subscription, packet);
  };
  // Nearly all messages are for nobody with a stored session, and go through with nothing added.
  persistence.outgoingEnqueueCombi = (subscriptions, packet) => {
    const kept =
      subscriptions.length === 0
        ? subscriptions
        : subscriptions.filter(({ clientId }: QueueingSubscription) => enter(clientId));
    return outgoingEnqueueCombi.call(persistence, kept, packet);
  };
  persistence.outgoingClearMessageId = (client, packet) => {
    const clearing = outgoingClearMessageId.call(persistence, client, packet);
    if (!sizes.has(client.id)) return clearing; // nothing waits that was counted
    return clearing.then((cleared) => {
      if (cleared) leave(client.id);
      return cleared;
    });
  };
  // Some persistences drop the queue with the filters; what is left in others is taken out at CONNECT.
  persistence.cleanSubscriptions = async (client) => {
    const result = await cleanSubscriptions.call(persistence, client);
    sizes.delete(client.id);
    full.delete(client.id);
    return result;
  };
}
