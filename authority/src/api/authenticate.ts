/**
 * Lets only operators at the management API: an access token for it, with the scope for everything,
 * of a client that is still active.
 *
 * Units   NumericDate.
 * Errors  `InvalidTokenError`, `InsufficientScopeError`.
 * Source  RFC 6750 2.1 and 3; RFC 9068 4.
 *
 * @module
 */
import {
  type ClientId,
  type Clock,
  InsufficientScopeError,
  InvalidTokenError,
  type Issuer,
  JwtError,
  verifyAccessToken,
} from '@latchkey/shared';
import { MANAGEMENT_SCOPE, managementResource } from '../management.js';
import type { Registry } from '../registry/registry.js';
import type { SigningKeys } from '../signing-keys.js';

export interface AuthenticateDeps {
  readonly issuer: Issuer;
  readonly registry: Registry;
  readonly signingKeys: SigningKeys;
  readonly clock: Clock;
}

/** Returns the client that may manage, given the Authorization header. */
export type Authenticate = (authorization: string | undefined) => Promise<ClientId>;

const NOT_VALID = 'the access token is not valid';

export function createAuthenticate(deps: AuthenticateDeps): Authenticate {
  const { issuer, registry, signingKeys, clock } = deps;

  const verify = async (token: string) => {
    try {
      return await verifyAccessToken(token, {
        issuer,
        audience: managementResource(issuer),
        now: clock.now(),
        findKey: signingKeys.find,
      });
    } catch (error) {
      if (!(error instanceof JwtError)) throw error;
      const detail = `${error.reason}: ${error.message}`;
      throw new InvalidTokenError(NOT_VALID, { detail, cause: error });
    }
  };

  return async (authorization) => {
    const token = /^Bearer +([^ ]+)$/i.exec(authorization ?? '')?.[1];
    if (token === undefined) {
      throw new InvalidTokenError('an access token is required: Authorization: Bearer');
    }
    const { clientId, scope } = await verify(token);
    const client = await registry.client(clientId);
    if (client?.status !== 'active') {
      throw new InvalidTokenError(NOT_VALID, { detail: `client ${clientId} is not active` });
    }
    if (!scope.plainScopes.includes(MANAGEMENT_SCOPE)) {
      throw new InsufficientScopeError(`the access token lacks the scope ${MANAGEMENT_SCOPE}`);
    }
    return clientId;
  };
}
