/**
 * Access tokens that another authorization server issued.
 *
 * Units   instants as NumericDate.
 * Errors  `JwtError`; `UnavailableError` when the issuer's keys cannot be had now.
 * Source  DESIGN 4 (third-party issuers), 9 (I7).
 *
 * @module
 */
import {
  type AccessTokenVerification,
  type ClientId,
  type Clock,
  FormatError,
  type JsonObject,
  JwtError,
  parseClientId,
  verifyThirdPartyToken,
} from '@latchkey/shared';
import type { CompileRights } from '../rights-compiler.js';
import type { TokenVerifier } from '../verify-token.js';
import { readClaim } from './claim-path.js';
import { topicScopesOf } from './scope-aliases.js';
import type { ThirdPartyIssuer } from './third-party-issuer.js';

/** Its own id has to be one of ours too, so that nothing in it has a meaning in a topic. */
function clientIdOf(
  claims: JsonObject,
  { clientIdClaim, clientIdPrefix }: ThirdPartyIssuer,
): ClientId {
  try {
    const own = parseClientId(readClaim(claims, clientIdClaim));
    return parseClientId(clientIdPrefix + own);
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    throw new JwtError(
      'claim',
      `the claim with the client id, behind its prefix, ${error.problem}`,
    );
  }
}

export function createThirdPartyTokens(deps: {
  readonly thirdParty: ThirdPartyIssuer;
  readonly clock: Clock;
  readonly compileRights: CompileRights;
  readonly findKey: AccessTokenVerification['findKey'];
}): TokenVerifier {
  const { thirdParty, clock, compileRights, findKey } = deps;
  const { issuer, name, scopeClaim, scopeAliases: aliases, acceptTopicScopes } = thirdParty;
  return {
    isFor: (other) => other === issuer,
    verify: async (jwt) => {
      const now = clock.now();
      const token = await verifyThirdPartyToken(jwt, { ...thirdParty, now, findKey });
      const { claims, jti, kid, issuedAt, expiresAt } = token;
      const clientId = clientIdOf(claims, thirdParty);
      const claim = readClaim(claims, scopeClaim);
      const scopes = topicScopesOf(claim, { clientId, aliases, acceptTopicScopes });
      const rights = compileRights(scopes, clientId);
      const says = { issuer, thirdParty: name, clientId, jti, kid, issuedAt, expiresAt, rights };
      return Object.freeze(says);
    },
  };
}
