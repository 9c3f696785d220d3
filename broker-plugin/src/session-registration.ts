/**
 * Keeps a stored session from passing to whoever is registered under the id of a deleted client.
 *
 * A broker that was away, or several changes that came as one, can hide that a client was deleted in
 * between. Its successor has a `tokensNotBefore` that is later than every token of the one before,
 * so a stored session is marked with the one it was made under, and is emptied when it is another:
 * it lives no longer than the tokens of its client. The mark is in the persistence, beside what it
 * vouches for, as a message of QoS 2 that no client can begin: its topic is reserved, and a message
 * id is never 0 [MQTT-2.3.1-1].
 *
 * Units   NumericDate.
 * Errors  `UnavailableError` when the persistence fails: then nobody gets the session.
 * Source  DESIGN 9 (I7); STANDARDS 6 (25).
 *
 * @module
 */
import { type NumericDate, UnavailableError } from '@latchkey/shared';
import type { Persistence, PublishPacket } from './aedes-types.js';
import type { PurgeSession } from './session-purge.js';
import type { ClientTable } from './trust/client-table.js';
import type { VerifiedToken } from './verify-token.js';

export interface SessionRegistrations {
  /** Empties the stored session unless it is of the client that is registered now. */
  claim(id: string, token: VerifiedToken): Promise<void>;
  /** Whether the stored session was claimed under this `tokensNotBefore`. */
  isClaimed(id: string, tokensNotBefore: NumericDate): Promise<boolean>;
}

const MARK_TOPIC = '$latchkey/registration';
const MARK_ID = { messageId: 0 } as const;

export function createSessionRegistrations(deps: {
  readonly persistence: Persistence;
  readonly clients: ClientTable | undefined;
  readonly purge: PurgeSession;
}): SessionRegistrations {
  const { persistence, clients, purge } = deps;

  const mark = async (id: string, tokensNotBefore: NumericDate): Promise<void> => {
    const payload = Buffer.from(String(tokensNotBefore));
    const packet: PublishPacket = {
      ...({ cmd: 'publish', topic: MARK_TOPIC, payload, ...MARK_ID } as const),
      ...({ qos: 2, retain: false, dup: false } as const),
    };
    await persistence.incomingStorePacket({ id }, packet);
  };

  /** 0: nobody had the id before, and nothing needs to be told. */
  const isClaimed = async (id: string, tokensNotBefore: NumericDate): Promise<boolean> => {
    if (tokensNotBefore === 0) return true;
    const packet = await persistence.incomingGetPacket({ id }, MARK_ID).catch(() => undefined);
    return packet?.topic === MARK_TOPIC && packet.payload.toString() === String(tokensNotBefore);
  };

  return {
    claim: async (id, { clientId, thirdParty }) => {
      if (clients === undefined || thirdParty !== undefined) return;
      const tokensNotBefore = clients.find(clientId)?.tokensNotBefore ?? 0;
      try {
        if (await isClaimed(id, tokensNotBefore)) return;
        await purge(id);
        await mark(id, tokensNotBefore);
      } catch (cause) {
        throw new UnavailableError('the stored session cannot be read', { cause });
      }
    },
    isClaimed,
  };
}
