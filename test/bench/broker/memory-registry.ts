/**
 * What the trust feed would tell, in memory: every device is registered, until it is revoked.
 *
 * @module
 */
import type { ClientTable } from '@latchkey/broker-plugin';
import { type FeedClient, parseClientId, systemClock } from '@latchkey/shared';
import { scopesOf } from './messages.ts';

export interface MemoryRegistry extends ClientTable {
  revoke(id: string): void;
}

function clientOf(id: string, status: 'active' | 'revoked'): FeedClient {
  const scope = status === 'active' ? scopesOf(id, false).join(' ') : '';
  return {
    ...{ id: parseClientId(id), kind: 'device', status, scope },
    ...{ mayMint: false, tokensNotBefore: 0, keys: [] },
  };
}

export function createMemoryRegistry(): MemoryRegistry {
  const revoked = new Set<string>();
  const listeners = new Set<Parameters<ClientTable['onChange']>[0]>();
  return {
    find: (id) => clientOf(id, revoked.has(id) ? 'revoked' : 'active'),
    isWhole: true,
    get freshAt() {
      return systemClock.now();
    },
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    revoke: (id) => {
      revoked.add(id);
      for (const tell of listeners) tell([clientOf(id, 'revoked')]);
    },
  };
}
