/**
 * Issues an access token to a client that has proved who it is: the last steps of every grant.
 *
 * Units   NumericDate; lifetimes in seconds.
 * Errors  `InvalidRequestError`, `InvalidTargetError`, `InvalidScopeError`, and the caller's own for a
 *         client that was suspended or revoked meanwhile.
 * Source  RFC 6749 3.3 and 5.1, RFC 8707 2, RFC 9068 2.
 *
 * @module
 */
import {
  type AccessTokenClaims,
  type ClientId,
  type Clock,
  InvalidRequestError,
  InvalidScopeError,
  type Issuer,
  type Kid,
  type Logger,
  MAX_JWT_BYTES,
  newJti,
  type OAuthError,
  signAccessToken,
} from '@latchkey/shared';
import type { Audit } from '../audit/audit.js';
import type { RequestParameters } from '../http/parameters.js';
import type { RequestLimits } from '../http/request-limits.js';
import type { Registry, SpentAssertion } from '../registry/registry.js';
import type { SigningKeys } from '../signing-keys.js';
import { chooseResource } from './resource.js';
import { grantScope } from './scope-grant.js';

export interface TokenAnswer {
  readonly access_token: string;
  readonly token_type: 'Bearer';
  readonly expires_in: number;
  readonly scope: string;
  /** Ours: the client may make tokens itself while the authority cannot be reached (RFC 6749 5.1 allows members of ours). */
  readonly may_mint?: true;
}

export interface TokenOrder {
  readonly clientId: ClientId;
  /** The client's key that vouched for the request, for the log. */
  readonly kid: Kid | undefined;
  /** Where the request came from. */
  readonly address: string;
  /** Of the request: `resource` or `audience`, and `scope`. */
  readonly parameters: RequestParameters;
  /** Spent in the commit that records the token: of any number of requests with it, one is answered. */
  readonly assertion?: SpentAssertion;
  /** What to throw to a client that is not active any more, or not the first; `detail` is for the log. */
  refuse(detail: string): OAuthError;
}

export type IssueToken = (order: TokenOrder) => Promise<TokenAnswer>;

/** `audience` is another name of `resource`, which some clients know instead. */
function requestedResource(parameters: RequestParameters): string | undefined {
  const resource = parameters.get('resource');
  const audience = parameters.get('audience');
  if (resource !== undefined && audience !== undefined && resource !== audience) {
    throw new InvalidRequestError('resource and audience differ, and mean the same');
  }
  return resource ?? audience;
}

export function createTokenIssuer(deps: {
  readonly issuer: Issuer;
  readonly registry: Registry;
  readonly signingKeys: SigningKeys;
  readonly audit: Audit;
  readonly limits: Pick<RequestLimits, 'checkClient' | 'countClient'>;
  readonly clock: Clock;
  readonly logger: Logger;
}): IssueToken {
  const { issuer, registry, signingKeys, audit, limits, clock, logger } = deps;

  /** Before the answer: whoever holds a token is in the audit log, and has spent what it gave for it. */
  const commit = async (
    { clientId, kid, address, assertion, refuse }: TokenOrder,
    { audience, jti, scope }: AccessTokenClaims,
  ): Promise<void> => {
    const event = {
      type: 'token',
      actor: clientId,
      action: 'issue',
      target: audience,
      outcome: 'ok',
      address,
      clientId,
      jti,
      kid,
      detail: scope,
    } as const;
    if (assertion === undefined) await audit.record(event);
    else if (!(await audit.recordSpending(assertion, event))) {
      throw refuse(`replay of jti ${assertion.jti}, or not active any more`);
    }
    // Only now: nobody uses up the share of a client by sending its assertion again.
    limits.countClient(clientId);
  };

  return async (order) => {
    const { clientId, kid, parameters, refuse } = order;
    limits.checkClient(clientId);
    const rights = await registry.rights(clientId);
    if (rights === undefined) throw refuse('the client is not active any more');
    const resource = chooseResource(rights, clientId, requestedResource(parameters));
    const scope = grantScope(resource, parameters.get('scope'));
    const now = clock.now();
    // Just after everything was voided, a token of the same second would be void from its birth.
    const issuedAt = Math.max(now, rights.tokensNotBefore);
    const token = {
      issuer,
      clientId,
      audience: resource.identifier,
      issuedAt,
      expiresAt: issuedAt + resource.tokenTtlSeconds,
      jti: newJti(),
      scope,
      hasLegacyClaims: resource.hasLegacyClaims,
    };
    const signer = await signingKeys.signerFor(resource.signingAlg);
    const accessToken = await signAccessToken(signer, token);
    if (accessToken.length > MAX_JWT_BYTES) {
      throw new InvalidScopeError('the scope is too long for one token: ask for a part of it');
    }
    const { jti, audience, expiresAt } = token;
    await commit(order, token);
    logger.info(
      { event: 'token.issued', clientId, kid, jti, resource: audience, scope, expiresAt },
      'token issued',
    );
    return {
      access_token: accessToken,
      token_type: 'Bearer',
      expires_in: expiresAt - now,
      scope,
      ...(rights.mayMint && { may_mint: true }),
    };
  };
}
