/**
 * Keeps imported public keys, since importing one costs a tenth of verifying with it.
 *
 * A kid is the thumbprint of its key, so an entry can never be out of date; whether the key may be
 * used is asked of the database each time.
 *
 * Where more keys are in use than fit, most would go before they are wanted again, and a key that was
 * kept for a while costs the garbage collector more than importing it: so only some are put in then.
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

/** Of so many keys that do not fit, one takes the place of the oldest. */
const REPLACE_EVERY = 16;

/** `maxEntries`: default 10,000. */
export function createPublicKeyCache(maxEntries = 10_000): PublicKeyCache {
  const keys = new Map<Kid, PublicKey>();
  let unfit = 0;
  return {
    restore: ({ kid, jwk }) => {
      const known = keys.get(kid);
      if (known !== undefined) return known;
      const key = restorePublicKey(jwk, kid);
      if (keys.size >= maxEntries) {
        unfit += 1;
        if (unfit % REPLACE_EVERY !== 0) return key;
        keys.delete(keys.keys().next().value as Kid);
      }
      keys.set(kid, key);
      return key;
    },
  };
}
