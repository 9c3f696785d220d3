/**
 * Access tokens of this authority, read by itself: whether the signature is good, and whether the
 * token is still worth something.
 *
 * Units   NumericDate.
 * Errors  none; `undefined` is the answer for a bad token and for a dead one.
 * Source  RFC 7662 2.2, RFC 7009 2.1; DESIGN 4 (`tokensNotBefore`).
 *
 * @module
 */
import {
  type Clock,
  type Issuer,
  JwtError,
  TOKEN_ALGORITHMS,
  type VerifiedAccessToken,
  type VerifiedOwnToken,
  verifyOwnToken,
} from '@latchkey/shared';
import type { Reach } from '../registry/lifecycle.js';
import type { Client, Registry } from '../registry/registry.js';
import type { SigningKeys } from '../signing-keys.js';

export interface OwnTokens {
  /** A token that this authority signed and that is not expired, for whatever resource. */
  verify(text: string): Promise<VerifiedOwnToken | undefined>;
}

export function createOwnTokens(deps: {
  readonly issuer: Issuer;
  readonly signingKeys: SigningKeys;
  readonly clock: Clock;
}): OwnTokens {
  const { issuer, signingKeys, clock } = deps;
  return {
    verify: async (text) => {
      try {
        return await verifyOwnToken(text, {
          issuer,
          now: clock.now(),
          findKey: signingKeys.find,
          algorithms: TOKEN_ALGORITHMS,
        });
      } catch (error) {
        if (error instanceof JwtError) return undefined;
        throw error;
      }
    },
  };
}

/**
 * The client of a token whose signature was verified, as the registry has it now; `undefined` when it is
 * not active, out of reach, or when the token or everything of its time was revoked.
 */
export async function liveClient(
  registry: Registry,
  { clientId, jti, issuedAt }: Pick<VerifiedAccessToken, 'clientId' | 'jti' | 'issuedAt'>,
  reach?: Reach,
): Promise<Client | undefined> {
  const client = await registry.client(clientId, reach);
  if (client?.status !== 'active' || issuedAt < client.tokensNotBefore) return undefined;
  return (await registry.isTokenRevoked(jti)) ? undefined : client;
}
