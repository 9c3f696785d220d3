/**
 * What a broker knows of clients, in memory, as a test says.
 *
 * @module
 */
import type { ClientTable } from '@latchkey/broker-plugin';
import {
  type ClientId,
  type FeedClient,
  type FeedKey,
  generateKey,
  type NumericDate,
  type PrivateKey,
  parseClientId,
} from '@latchkey/shared';

export const DEVICE_KEY: PrivateKey = generateKey();

export function feedKey({ publicKey: { kid, jwk } }: PrivateKey, times: Partial<FeedKey> = {}) {
  return { kid, jwk, notBefore: undefined, expiresAt: undefined, ...times };
}

/** An active device that may mint with `DEVICE_KEY`, and may do everything below `devices/<id>`. */
export function feedClient({
  id = 't-42',
  ...changes
}: Partial<Omit<FeedClient, 'id'>> & { readonly id?: string } = {}): FeedClient {
  return {
    id: parseClientId(id),
    kind: 'device',
    status: 'active',
    mayMint: true,
    tokensNotBefore: 0,
    keys: [feedKey(DEVICE_KEY)],
    scope: `pub:devices/${id}/# sub:devices/${id}/#`,
    ...changes,
  };
}

export interface MemoryClients extends ClientTable {
  isWhole: boolean;
  freshAt: NumericDate | undefined;
  /** Changes the clients and tells it; a deleted one is not known afterwards. */
  put(...changed: readonly FeedClient[]): void;
  /** A fresh snapshot takes the place of everything. */
  replaceAll(...clients: readonly FeedClient[]): void;
  /** How often a client was looked up. */
  readonly lookUps: number;
  /** Resolves when a client was looked up, or was before. */
  lookedUp(): Promise<void>;
}

export function createMemoryClients(...clients: readonly FeedClient[]): MemoryClients {
  let known = new Map<ClientId, FeedClient>();
  const listeners = new Set<Parameters<ClientTable['onChange']>[0]>();
  let lookUps = 0;
  const store = (changed: readonly FeedClient[]): void => {
    for (const client of changed) {
      if (client.status === 'deleted') known.delete(client.id);
      else known.set(client.id, client);
    }
  };
  store(clients);
  return {
    isWhole: true,
    freshAt: 1_760_000_000,
    find: (id) => {
      lookUps += 1;
      return known.get(id);
    },
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    put: (...changed) => {
      store(changed);
      for (const listener of listeners) listener(changed);
    },
    replaceAll: (...all) => {
      known = new Map();
      store(all);
      for (const listener of listeners) listener('all');
    },
    lookedUp: async () => {
      while (lookUps === 0) await new Promise((resolve) => setImmediate(resolve));
    },
    get lookUps() {
      return lookUps;
    },
  };
}
