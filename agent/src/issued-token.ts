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
  readonly clock: Clock;
  readonly logger: Logger;
}

export function createIssuedTokenSource(deps: IssuedTokenDeps): TokenSource {
  const { identity, signer, cache, http, clock, logger } = deps;
  const { issuer, clientId } = identity;
  const underway = new Map<string, Promise<AccessToken>>();
  let metadata: ServerMetadata | undefined;

  const obtain = async (purpose: TokenPurpose): Promise<AccessToken> => {
    metadata ??= await discover(http, issuer);
    const { resource, scope } = purpose;
    const now = clock.now();
    let token: AccessToken;
    try {
      token = await requestToken({
        http,
        metadata,
        issuer,
        clientId,
        signer,
        now,
        resource,
        scope,
      });
    } catch (error) {
      if (error instanceof UnreachableError) metadata = undefined; // it may have moved
      throw error;
    }
    await orLogged(cache.put(purpose, token), logger);
    logger.info(
      {
        event: 'token.obtained',
        resource: resource ?? null,
        expiresAt: token.expiresAt,
        scope: token.scope,
      },
      'access token obtained',
    );
    return token;
  };

  const renew = (purpose: TokenPurpose): Promise<AccessToken> => {
    const key = JSON.stringify([purpose.resource ?? null, purpose.scope ?? null]);
    let request = underway.get(key);
    if (request === undefined) {
      request = obtain(purpose).finally(() => underway.delete(key));
      underway.set(key, request);
    }
    return request;
  };

  return {
    get: async (purpose) => cache.get(purpose, clock.now()) ?? renew(purpose),
    renew,
    discard: (token) => orLogged(cache.remove(token), logger),
  };
}
