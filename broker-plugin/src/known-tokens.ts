/**
 * Tokens that were verified before, so that a fleet that reconnects costs hashes, not signatures.
 *
 * A token is known by the SHA-256 of its bytes; only the canonical text of a token verifies, so there
 * is one. Only what passed every check gets in, the least recently used leaves first, and all of
 * them leave when the issuer takes a key back.
 *
 * Units   instants as NumericDate, `maxEntries` a count.
 * Errors  none.
 * Source  RFC 9068 4, STANDARDS 3.10; DESIGN 9 (I5, I11).
 *
 * @module
 */
import { hash as hashOnce } from 'node:crypto';
import type { Clock, NumericDate } from '@latchkey/shared';
import type { VerifiedToken } from './verify-token.js';

export interface KnownTokens {
  /**
   * A token that was verified before and would be again, or else `verify`'s, which is
   * remembered. What `verify` rejects is not.
   */
  findOr(bytes: Uint8Array, verify: () => Promise<VerifiedToken>): Promise<VerifiedToken>;
  /** Whether it would be found now. */
  has(bytes: Uint8Array): boolean;
  /** Forgets all, and whatever is being verified now. */
  clear(): void;
  readonly size: number;
}

interface Known {
  readonly token: VerifiedToken;
  /** The clock when it was verified; earlier than that, it might not be valid yet. */
  readonly verifiedAt: NumericDate;
}

export function createKnownTokens(deps: {
  readonly clock: Clock;
  readonly maxEntries: number;
}): KnownTokens {
  const { clock, maxEntries } = deps;
  /** In the order of their last use. */
  let entries = new Map<string, Known>();

  // In one call, which leaves no object of C++ to be collected.
  const hashOf = (bytes: Uint8Array): string => hashOnce('sha256', bytes, 'base64url');
  const isGood = ({ token, verifiedAt }: Known): boolean => {
    const now = clock.now();
    return verifiedAt <= now && now < token.expiresAt;
  };

  return {
    has: (bytes) => {
      const known = entries.get(hashOf(bytes));
      return known !== undefined && isGood(known);
    },
    findOr: async (bytes, verify) => {
      const hash = hashOf(bytes);
      const known = entries.get(hash);
      if (known !== undefined) {
        entries.delete(hash);
        if (isGood(known)) {
          entries.set(hash, known);
          return known.token;
        }
      }
      const present = entries;
      const token = await verify();
      present.set(hash, { token, verifiedAt: clock.now() }); // of nobody, after `clear`
      if (present.size > maxEntries) present.delete(present.keys().next().value as string);
      return token;
    },
    clear: () => {
      entries = new Map();
    },
    get size() {
      return entries.size;
    },
  };
}
