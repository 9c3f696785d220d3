/**
 * Access tokens that the authority issued.
 *
 * Units   instants as NumericDate.
 * Errors  `JwtError`; `UnavailableError` when the issuer's keys cannot be had now.
 * Source  RFC 9068 4; DESIGN 3.
 *
 * @module
 */
import {
  type AccessTokenVerification,
  type Clock,
  type Issuer,
  type ResourceId,
  verifyParsedAccessToken,
} from '@latchkey/shared';
import type { CompileRights } from '../rights-compiler.js';
import type { TokenVerifier } from '../verify-token.js';

export function createIssuedTokens(deps: {
  readonly issuer: Issuer;
  readonly audience: ResourceId;
  readonly clock: Clock;
  readonly compileRights: CompileRights;
  readonly findKey: AccessTokenVerification['findKey'];
}): TokenVerifier {
  const { issuer, audience, clock, compileRights, findKey } = deps;
  return {
    isFor: (other) => other === issuer,
    verify: async (jwt) => {
      const now = clock.now();
      const token = await verifyParsedAccessToken(jwt, { issuer, audience, now, findKey });
      const { clientId, jti, kid, issuedAt, expiresAt, scope } = token;
      const rights = compileRights(scope.topicScopes, clientId);
      return Object.freeze({ issuer, clientId, jti, kid, issuedAt, expiresAt, rights });
    },
  };
}
