/**
 * Verifies an access token from the wire and makes the context of a session out of it.
 *
 * Units   instants as NumericDate, lengths in bytes.
 * Errors  `InvalidTokenError`: one answer for everything that is wrong with a token.
 *         `InsufficientScopeError`: a good token for another resource. `UnavailableError`: keys
 *         cannot be had now. `detail` is for the log.
 * Source  DESIGN 4; STANDARDS 1.4, 3.10, 4.4.
 *
 * @module
 */
import {
  type AccessTokenVerification,
  type ClientId,
  type Clock,
  compileTopicRights,
  InsufficientScopeError,
  InvalidTokenError,
  type Issuer,
  JwtError,
  MAX_JWT_BYTES,
  type NumericDate,
  type ResourceId,
  type TopicRights,
  type VerifiedAccessToken,
  verifyAccessToken,
} from '@latchkey/shared';
import type { KnownTokens } from './known-tokens.js';

/** What a session may do, and until when. Immutable: a new token makes a new context. */
export interface SessionContext {
  readonly clientId: ClientId;
  readonly jti: string;
  readonly kid: string | undefined;
  readonly issuedAt: NumericDate;
  /** At this instant the session ends. */
  readonly expiresAt: NumericDate;
  readonly rights: TopicRights;
}

/** Verifies the bytes where a token has to be: the password of a CONNECT, the payload of a renewal. */
export type VerifyToken = (bytes: Uint8Array | undefined) => Promise<SessionContext>;

export const INVALID_TOKEN = 'the access token is not valid';

/** Becomes one answer for the client, and the reason for the log. */
function refusal(error: JwtError): Error {
  const detail = `${error.reason}: ${error.message}`;
  return error.reason === 'audience'
    ? new InsufficientScopeError('the access token is for another resource', { detail })
    : new InvalidTokenError(INVALID_TOKEN, { detail });
}

function contextOf(token: VerifiedAccessToken): SessionContext {
  return Object.freeze({
    clientId: token.clientId,
    jti: token.jti,
    kid: token.kid,
    issuedAt: token.issuedAt,
    expiresAt: token.expiresAt,
    rights: compileTopicRights(token.scope.topicScopes),
  });
}

export function createVerifyToken(deps: {
  readonly issuer: Issuer;
  readonly audience: ResourceId;
  readonly clock: Clock;
  readonly findKey: AccessTokenVerification['findKey'];
  readonly knownTokens: KnownTokens;
}): VerifyToken {
  const { issuer, audience, clock, findKey, knownTokens } = deps;

  const verify = async (text: string): Promise<SessionContext> => {
    try {
      const now = clock.now();
      return contextOf(await verifyAccessToken(text, { issuer, audience, now, findKey }));
    } catch (error) {
      throw error instanceof JwtError ? refusal(error) : error;
    }
  };

  return async (bytes) => {
    if (bytes === undefined || bytes.length === 0) {
      throw new InvalidTokenError(INVALID_TOKEN, { detail: 'no token' });
    }
    if (bytes.length > MAX_JWT_BYTES) {
      throw new InvalidTokenError(INVALID_TOKEN, { detail: 'too long for a token' });
    }
    const text = Buffer.from(bytes).toString('latin1');
    return knownTokens.findOr(text, () => verify(text));
  };
}
