/**
 * Tokens issued by the authority: one assertion each, cached, and one request however many ask.
 *
 * Units   NumericDate.
 * Errors  `UnreachableError`, `TokenRequestError`. A cache that cannot be written is logged, no more.
 * Source  RFC 7523 2.1; STANDARDS 2.1 to 2.3.
 *
 * @module
 */
import {
  type Clock,
  discover,
  type HttpClient,
  type Logger,
  requestToken,
  type ServerMetadata,
  type Signer,
  TokenRequestError,
  UnreachableError,
} from '@latchkey/shared';
import type { Identity } from './identity.js';
import { orLogged, type TokenCache } from './token-cache.js';
import type { AccessToken, TokenPurpose, TokenSource } from './token-source.js';

export interface IssuedTokenDeps {
  readonly identity: Identity;
  readonly signer: Signer;
  readonly cache: TokenCache;
  readonly http: HttpClient;
  /** Where `isKnown` is `false`, the authority is asked before a cached token is believed to be good. */
  readonly clock: Clock & { readonly isKnown?: boolean };
  readonly logger: Logger;
}

/** A clock that was corrected by more than this meanwhile explains a refused assertion. */
const CORRECTION_MS = 30_000;

export function createIssuedTokenSource(deps: IssuedTokenDeps): TokenSource {
  const { identity, signer, cache, http, clock, logger } = deps;
  const { issuer, clientId } = identity;
  const underway = new Map<string, Promise<AccessToken>>();
  let metadata: ServerMetadata | undefined;
  let hasAskedTime = false;

  const request = async ({ resource, scope }: TokenPurpose): Promise<AccessToken> => {
    metadata ??= await discover(http, issuer);
    const common = { http, metadata, issuer, clientId, signer, resource, scope };
    const aheadMs = () => clock.nowMs() - clock.elapsedMs();
    const beforeMs = aheadMs();
    try {
      return await requestToken({ ...common, now: clock.now() });
    } catch (error) {
      const wasWrong = Math.abs(aheadMs() - beforeMs) >= CORRECTION_MS;
      if (error instanceof TokenRequestError && error.error === 'invalid_grant' && wasWrong) {
        return requestToken({ ...common, now: clock.now() });
      }
      if (error instanceof UnreachableError) metadata = undefined; // it may have moved
      throw error;
    }
  };

  const obtain = async (purpose: TokenPurpose): Promise<AccessToken> => {
    const token = await request(purpose);
    await orLogged(cache.put(purpose, token), logger);
    logger.info(
      {
        event: 'token.obtained',
        resource: purpose.resource ?? null,
        expiresAt: token.expiresAt,
        scope: token.scope,
      },
      'access token obtained',
    );
    return token;
  };

  const renew = (purpose: TokenPurpose): Promise<AccessToken> => {
    const key = JSON.stringify([purpose.resource ?? null, purpose.scope ?? null]);
    let asked = underway.get(key);
    if (asked === undefined) {
      asked = obtain(purpose).finally(() => underway.delete(key));
      underway.set(key, asked);
    }
    return asked;
  };

  /** Asks once: without an answer, the machine's clock is the best there is. */
  const learnTime = async (): Promise<void> => {
    if (hasAskedTime || clock.isKnown !== false) return;
    hasAskedTime = true;
    try {
      metadata ??= await discover(http, issuer);
    } catch (error) {
      if (!(error instanceof UnreachableError)) throw error;
    }
  };

  return {
    get: async (purpose) => {
      await learnTime();
      return cache.get(purpose, clock.now()) ?? renew(purpose);
    },
    renew,
    discard: (token) => orLogged(cache.remove(token), logger),
  };
}
