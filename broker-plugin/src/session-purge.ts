/**
 * Empties what a client left in the persistence: filters, queued messages, begun QoS 2, its will.
 *
 * Units   none.
 * Errors  what the persistence rejects with.
 * Source  STANDARDS 5.3 (3), 6 (25, 27); DESIGN 9 (I4, I7).
 *
 * @module
 */
import type { Persistence, QueuedPacket } from './aedes-types.js';
import type { InboundMessages } from './inbound-messages.js';

/** Message ids of MQTT [MQTT-2.3.1-1]. */
const MAX_MESSAGE_ID = 65_535;

/**
 * Takes every message out of the queue. A persistence finds one by its message id only, so each is
 * given one, as on its way to the client; one that cannot be given another has its own.
 */
async function drain(persistence: Persistence, client: { readonly id: string }): Promise<void> {
  let last = 0;
  for await (const packet of persistence.outgoingStream(client)) {
    const messageId = (last % MAX_MESSAGE_ID) + 1;
    last = messageId;
    const numbered: QueuedPacket = Object.assign(Object.create(packet) as QueuedPacket, packet, {
      messageId,
    });
    const found = await persistence.outgoingUpdate(client, numbered).then(
      () => numbered,
      () => packet,
    );
    await persistence.outgoingClearMessageId(client, found);
  }
}

/** Resolves when nothing is left of a session, by its MQTT client id. */
export type PurgeSession = (id: string) => Promise<void>;

export function createPurgeSession(deps: {
  readonly persistence: Persistence;
  readonly inbound: InboundMessages;
  readonly brokerId: string;
}): PurgeSession {
  const { persistence, inbound, brokerId } = deps;
  return async (id) => {
    await persistence.cleanSubscriptions({ id }); // first, so that no more comes in
    await drain(persistence, { id });
    await inbound.purge(id);
    await persistence.delWill({ id, brokerId });
  };
}
