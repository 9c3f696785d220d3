/**
 * Bounds the messages of QoS 2 that wait for their PUBREL, and ends them with a clean session.
 *
 * Aedes 2.0.0-beta.1 stores them without a bound, keeps them when a clean session ends, so that the
 * next message with the same id is taken for a copy and lost, and lets a removal that fails (two
 * PUBREL in one segment) end the process as an unhandled rejection. Aedes 1.2 sees to all of it.
 *
 * Units   counts.
 * Errors  `Error` out of `incomingStorePacket` beyond the bound: Aedes closes the connection.
 * Source  MQTT 5 3.1.2.11.3, 4.3.3; MQTT 3.1.1 [MQTT-3.1.2-6]; DESIGN 9 (I2, I11).
 *
 * @module
 */
import type { Aedes, Client, Persistence } from './aedes-types.js';
import { tellWhy } from './disconnect.js';
import { REASON } from './mqtt-codes.js';

export interface InboundMessages {
  /** The session of a client begins; `isNew`: nothing of an older one is left over. */
  begin(client: Client, isNew: boolean): void;
  /** The connection of a client is gone. */
  end(client: Client): void;
  /** Ends all that a client began, connected or not. */
  purge(clientId: string): Promise<void>;
}

/** For each client: the bound that Aedes 1.2 has by itself. */
export const MAX_WAITING = 1000;

export function createInboundMessages(deps: {
  readonly broker: Aedes;
  readonly persistence: Persistence;
}): InboundMessages {
  const { broker, persistence } = deps;
  const purge = async (id: string): Promise<void> =>
    void (await persistence.cleanIncoming?.({ id }));
  if ('maxInflightInbound' in broker) {
    return { begin: () => undefined, end: () => undefined, purge };
  }

  /** Client ids and the message ids that wait. */
  const waiting = new Map<string, Set<number>>();
  /** Client ids and the connection that has them now. */
  const holders = new Map<string, Client>();

  const release = (clientId: string, messageId: number): void => {
    const ids = waiting.get(clientId);
    ids?.delete(messageId);
    if (ids?.size === 0) waiting.delete(clientId);
  };

  const store = persistence.incomingStorePacket;
  persistence.incomingStorePacket = async (client, packet) => {
    const { messageId = 0 } = packet;
    const ids = waiting.get(client.id) ?? new Set();
    if (!ids.has(messageId) && ids.size >= MAX_WAITING) {
      const holder = holders.get(client.id);
      if (holder !== undefined) tellWhy(holder, REASON.receiveMaximumExceeded);
      throw new Error(`over ${MAX_WAITING} messages of QoS 2 wait for their PUBREL`);
    }
    waiting.set(client.id, ids.add(messageId));
    try {
      await store.call(persistence, client, packet);
    } catch (error) {
      release(client.id, messageId);
      throw error;
    }
  };

  const remove = persistence.incomingDelPacket;
  persistence.incomingDelPacket = async (client, packet) => {
    try {
      await remove.call(persistence, client, packet);
    } catch {
      return; // PUBCOMP is owed all the same; what may still be stored goes on counting
    }
    release(client.id, packet.messageId ?? 0);
  };

  const clean = async (id: string): Promise<void> => {
    const ids = [...(waiting.get(id) ?? [])];
    await Promise.all(ids.map((messageId) => persistence.incomingDelPacket({ id }, { messageId })));
  };

  return {
    begin: (client, isNew) => {
      holders.set(client.id, client);
      if (isNew) void clean(client.id);
    },
    end: (client) => {
      if (holders.get(client.id) !== client) return; // taken over
      holders.delete(client.id);
      if (client.clean) void clean(client.id);
    },
    purge: async (id) => {
      await clean(id);
      await purge(id);
    },
  };
}
