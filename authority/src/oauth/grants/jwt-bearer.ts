/**
 * The jwt-bearer grant: one assertion, spent once, for one access token.
 *
 * Units   NumericDate.
 * Errors  `InvalidRequestError`, `InvalidGrantError`, `InvalidTargetError`, `InvalidScopeError`.
 *         Unknown, revoked, wrong signature and replay give one message; only the holder of the key
 *         learns that its clock is wrong.
 * Source  RFC 7523 2.1 and 3.1; STANDARDS 2.3, whose order the steps follow.
 *
 * @module
 */
import {
  type Clock,
  InvalidGrantError,
  InvalidRequestError,
  type Issuer,
  JWT_BEARER_GRANT,
  JwtError,
  OAuthError,
  type VerifiedAssertion,
  verifyAssertion,
} from '@latchkey/shared';
import type { Registry } from '../../registry/registry.js';
import type { IssueToken } from '../issue-token.js';
import { jwtRefusal } from '../jwt-refusal.js';
import type { Grant, GrantRequest } from './grant.js';

export interface JwtBearerDeps {
  readonly issuer: Issuer;
  readonly registry: Registry;
  readonly clock: Clock;
  readonly issueToken: IssueToken;
}

const NOT_VALID = 'the assertion is not valid';

/** RFC 7523 3.1: whoever else the request names must be the client of the assertion. */
function refuseOtherClient({ parameters, client }: GrantRequest, { clientId }: VerifiedAssertion) {
  if (parameters.has('client_id') && parameters.get('client_id') !== clientId) {
    throw new InvalidGrantError(NOT_VALID, { detail: 'client_id names another client' });
  }
  if (client !== undefined && client.clientId !== clientId) {
    throw new InvalidGrantError(NOT_VALID, { detail: 'the credentials are of another client' });
  }
}

export function createJwtBearerGrant(deps: JwtBearerDeps): Grant {
  const { issuer, registry, clock, issueToken } = deps;

  const verify = async ({ parameters, noteClient }: GrantRequest) => {
    const assertion = parameters.get('assertion');
    if (assertion === undefined) throw new InvalidRequestError('assertion is missing');
    try {
      return await verifyAssertion(assertion, {
        issuer,
        use: 'grant',
        now: clock.now(),
        findKey: (clientId, kid) => {
          noteClient(clientId);
          return registry.activeKey(clientId, kid);
        },
      });
    } catch (error) {
      throw error instanceof JwtError ? jwtRefusal(error, NOT_VALID) : error;
    }
  };

  const refuse = (detail: string) => new InvalidGrantError(NOT_VALID, { detail });

  /** What was shown with a request that is refused is good for no other one either. */
  const spendRefused = async (assertion: VerifiedAssertion, error: unknown): Promise<void> => {
    const isRefusal = error instanceof OAuthError && error.status === 400;
    if (!isRefusal || (await registry.spendAssertion(assertion))) return;
    // Whoever sends it again does not learn either what else is wrong with the request.
    throw refuse(`replay of jti ${assertion.jti}`);
  };

  return {
    grantType: JWT_BEARER_GRANT,
    label: 'jwt-bearer',
    handle: async (request) => {
      const assertion = await verify(request);
      refuseOtherClient(request, assertion);
      const { clientId, kid } = assertion;
      const { parameters, address } = request;
      try {
        return await issueToken({ clientId, kid, parameters, address, assertion, refuse });
      } catch (error) {
        await spendRefused(assertion, error);
        throw error;
      }
    },
  };
}
