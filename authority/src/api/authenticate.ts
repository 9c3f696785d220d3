/**
 * Tells which operator asks: an access token for the management API, of a client that is still active
 * and still has the scopes that the token carries.
 *
 * Units   NumericDate.
 * Errors  `InvalidTokenError`.
 * Source  RFC 6750 2.1 and 3; RFC 9068 4; DESIGN 4 (`tokensNotBefore`).
 *
 * @module
 */
import {
  type Clock,
  InvalidTokenError,
  type Issuer,
  JwtError,
  TOKEN_ALGORITHMS,
  type VerifiedAccessToken,
  verifyAccessToken,
} from '@latchkey/shared';
import { managementResource } from '../management.js';
import type { ClientRights, Registry } from '../registry/registry.js';
import type { SigningKeys } from '../signing-keys.js';
import { createOperator, type Operator } from './operator.js';

export interface AuthenticateDeps {
  readonly issuer: Issuer;
  readonly registry: Registry;
  readonly signingKeys: Pick<SigningKeys, 'find'>;
  readonly clock: Clock;
}

/** Returns the operator, given the Authorization header. */
export type Authenticate = (authorization: string | undefined) => Promise<Operator>;

const NOT_VALID = 'the access token is not valid';

export function createAuthenticate(deps: AuthenticateDeps): Authenticate {
  const { issuer, registry, signingKeys, clock } = deps;
  const resource = managementResource(issuer);

  const verify = async (token: string): Promise<VerifiedAccessToken> => {
    try {
      return await verifyAccessToken(token, {
        issuer,
        audience: resource,
        now: clock.now(),
        findKey: signingKeys.find,
        algorithms: TOKEN_ALGORITHMS,
      });
    } catch (error) {
      if (!(error instanceof JwtError)) throw error;
      const detail = `${error.reason}: ${error.message}`;
      throw new InvalidTokenError(NOT_VALID, { detail, cause: error });
    }
  };

  /** What the client has now; a role that was taken away since the token was issued counts at once. */
  const currentRights = async (token: VerifiedAccessToken): Promise<ClientRights> => {
    const { clientId, jti, issuedAt } = token;
    const rights = await registry.rights(clientId);
    if (rights === undefined) {
      throw new InvalidTokenError(NOT_VALID, { detail: `client ${clientId} is not active` });
    }
    if (issuedAt < rights.tokensNotBefore || (await registry.isTokenRevoked(jti))) {
      throw new InvalidTokenError(NOT_VALID, { detail: `token ${jti} was revoked` });
    }
    return rights;
  };

  return async (authorization) => {
    const text = /^Bearer +([^ ]+)$/i.exec(authorization ?? '')?.[1];
    if (text === undefined) {
      throw new InvalidTokenError('an access token is required: Authorization: Bearer');
    }
    const token = await verify(text);
    const { permissions, limitedToLabel } = await currentRights(token);
    const names = new Set<string>(
      permissions.filter((p) => p.resource === resource).map(({ name }) => name),
    );
    const scopes = new Set(token.scope.plainScopes.filter((scope) => names.has(scope)));
    return createOperator({ clientId: token.clientId, scopes, limit: limitedToLabel, resource });
  };
}
