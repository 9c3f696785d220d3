/**
 * Tokens that the device mints itself, with its own key, while the authority cannot be reached.
 *
 * Only a device that the authority allowed to, when it last answered; with the rights and the lifetime
 * of the token that it issued last. The broker knows the registry and narrows them further. A token that
 * a broker refused is not minted again: the authority has to answer first.
 *
 * Units   NumericDate.
 * Errors  as the authority's tokens: `UnreachableError` when none can be minted, `TokenRequestError`.
 * Source  DESIGN 3 and 7; invariant I8.
 *
 * @module
 */
import {
  mintingIssuer,
  newJti,
  signAccessToken,
  TokenRequestError,
  UnreachableError,
} from '@latchkey/shared';
import { createIssuedTokenSource, type IssuedTokenDeps } from './issued-token.js';
import { orLogged } from './token-cache.js';
import type { AccessToken, TokenPurpose, TokenSource } from './token-source.js';

/** The authority does not know this device any more, or has ended it. */
const isRefusal = (error: unknown): boolean =>
  error instanceof TokenRequestError && error.error === 'invalid_grant';

/** Issued tokens, and minted ones in their place while the authority cannot be reached. */
export function createTokenSource(deps: IssuedTokenDeps): TokenSource {
  const { identity, signer, cache, clock, logger } = deps;
  const { issuer, clientId } = identity;
  const issued = createIssuedTokenSource(deps);

  const mint = async (purpose: TokenPurpose): Promise<AccessToken | undefined> => {
    const last = cache.last(purpose);
    const { resource: audience } = purpose;
    if (last === undefined || !last.mayMint || audience === undefined) return undefined;
    const { scope, mayMint } = last;
    const issuedAt = clock.now();
    const expiresAt = issuedAt + (last.expiresAt - last.issuedAt);
    const accessToken = await signAccessToken(signer, {
      ...{ issuer: mintingIssuer(issuer, clientId), clientId, audience },
      ...{ issuedAt, expiresAt, jti: newJti(), scope },
    });
    const token = { accessToken, issuedAt, expiresAt, scope, mayMint };
    await orLogged(cache.put(purpose, token), logger);
    logger.info({ event: 'token.minted', resource: audience, expiresAt, scope }, 'token minted');
    return token;
  };

  const orMinted = async (
    purpose: TokenPurpose,
    obtain: (purpose: TokenPurpose) => Promise<AccessToken>,
  ): Promise<AccessToken> => {
    try {
      return await obtain(purpose);
    } catch (error) {
      // A refusal is an answer, and the last word: a device that was revoked mints no more.
      const last = cache.last(purpose);
      if (isRefusal(error) && last !== undefined) await issued.discard(last);
      const token = error instanceof UnreachableError ? await mint(purpose) : undefined;
      if (token === undefined) throw error;
      return token;
    }
  };

  return {
    get: (purpose) => orMinted(purpose, issued.get),
    renew: (purpose) => orMinted(purpose, issued.renew),
    discard: issued.discard,
  };
}
