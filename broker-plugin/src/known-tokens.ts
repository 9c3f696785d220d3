/**
 * Tokens that were verified before, so that a fleet that reconnects costs hashes, not signatures.
 *
 * A token is known by the SHA-256 of its text; only the canonical text of a token verifies, so there
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
  findOr(text: string, verify: () => Promise<VerifiedToken>): Promise<VerifiedToken>;
  /** Whether it would be found now. */
  has(text: string): boolean;
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

  // In one call, which leaves no object of C++ to be collected. No JWT has a character beyond ASCII.
  const hashOf = (text: string): string => hashOnce('sha256', text, 'base64url');
  const find = (hash: string): VerifiedToken | undefined => {
    const now = clock.now();
    const known = entries.get(hash);
    const isGood = known !== undefined && known.verifiedAt <= now && now < known.token.expiresAt;
    return isGood ? known.token : undefined;
  };

  return {
    has: (text) => find(hashOf(text)) !== undefined,
    findOr: async (text, verify) => {
      const hash = hashOf(text);
      const known = entries.get(hash);
      const found = find(hash);
      entries.delete(hash);
      if (known !== undefined && found !== undefined) {
        entries.set(hash, known);
        return found;
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
