/**
 * Keeps imported public keys, since importing one costs about as much as verifying with it.
 *
 * A kid is the thumbprint of its key, so an entry can never be out of date; whether the key may be
 * used is asked of the database each time.
 *
 * Units   `maxEntries`: number of keys, about 1 kB each.
 * Errors  none.
 * Source  RFC 7638.
 *
 * @module
 */
import type { Kid } from './ids.js';
import { type PublicJwk, type PublicKey, restorePublicKey } from './keys.js';

export interface PublicKeyCache {
  restore(key: { readonly kid: Kid; readonly jwk: PublicJwk }): PublicKey;
}

/** `maxEntries`: default 10,000; the oldest goes first. */
export function createPublicKeyCache(maxEntries = 10_000): PublicKeyCache {
  const keys = new Map<Kid, PublicKey>();
  return {
    restore: ({ kid, jwk }) => {
      const known = keys.get(kid);
      if (known !== undefined) return known;
      const key = restorePublicKey(jwk);
      const oldest = keys.keys().next();
      if (keys.size >= maxEntries && !oldest.done) keys.delete(oldest.value);
      keys.set(kid, key);
      return key;
    },
  };
}
