/**
 * Verifies an access token from the wire and makes the context of a session out of it.
 *
 * Who verifies is chosen by the issuer that the token names; whoever it is, the issuer's own part
 * checks everything again. What was verified once is known until it expires; whether its client may
 * come in now is asked each time.
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
  type ClientId,
  InsufficientScopeError,
  InvalidTokenError,
  JwtError,
  MAX_JWT_BYTES,
  type NumericDate,
  type ParsedJwt,
  parseJwt,
  type TopicRights,
} from '@latchkey/shared';
import type { KnownTokens } from './known-tokens.js';
import type { ClientNamespaces } from './trust/client-namespaces.js';

/** What a good token says. Immutable. */
export interface VerifiedToken {
  readonly issuer: string;
  /** Name of the third party that issued it; absent when our own authority vouches for the client. */
  readonly thirdParty?: string;
  readonly clientId: ClientId;
  /** Third parties need not give one. */
  readonly jti: string | undefined;
  readonly kid: string | undefined;
  readonly issuedAt: NumericDate;
  /** At this instant the session ends. */
  readonly expiresAt: NumericDate;
  readonly rights: TopicRights;
}

/**
 * What a session may do, and until when. Immutable: a new token, or a change in the registry, makes
 * a new context. It is the token itself as long as the registry takes nothing away.
 */
export interface SessionContext extends VerifiedToken {
  /** Present when the token has more than the registry gives: both have to allow a request. */
  readonly ceiling?: TopicRights;
  /** The token as it was verified, when this is something else. */
  readonly verified?: VerifiedToken;
}

/** Verifies the tokens of one issuer. */
export interface TokenVerifier {
  isFor(issuer: string): boolean;
  /** `issuer` is what `isFor` said yes to. Rejects with `JwtError`, or with `UnavailableError`. */
  verify(jwt: ParsedJwt, issuer: string): Promise<VerifiedToken>;
}

/**
 * The context of a client that may come in now. Throws `InvalidTokenError` for one that may not, and
 * `UnavailableError` when that cannot be said yet.
 */
export type Admit = (token: VerifiedToken) => SessionContext | Promise<SessionContext>;

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

export function createVerifyToken(deps: {
  readonly verifiers: readonly TokenVerifier[];
  readonly namespaces: ClientNamespaces;
  readonly admit: Admit;
  readonly knownTokens: KnownTokens;
}): VerifyToken {
  const { verifiers, namespaces, admit, knownTokens } = deps;

  /** I7: whoever issued the token, its client cannot have the id of another issuer's. */
  const checkNamespace = (token: VerifiedToken): VerifiedToken => {
    if (namespaces.holderOf(token.clientId) === token.thirdParty) return token;
    throw new InsufficientScopeError('the client id is not one of this issuer', {
      detail: `client-id: ${token.clientId} is for clients of another issuer`,
    });
  };

  const verify = async (bytes: Uint8Array): Promise<VerifiedToken> => {
    const { buffer, byteOffset, byteLength } = bytes;
    try {
      const jwt = parseJwt(Buffer.from(buffer, byteOffset, byteLength).toString('latin1'));
      const { iss } = jwt.claims;
      if (typeof iss === 'string') {
        const verifier = verifiers.find((one) => one.isFor(iss));
        if (verifier !== undefined) return checkNamespace(await verifier.verify(jwt, iss));
      }
    } catch (error) {
      throw error instanceof JwtError ? refusal(error) : error;
    }
    throw new InvalidTokenError(INVALID_TOKEN, { detail: 'issuer: iss is another issuer' });
  };

  return async (bytes) => {
    if (bytes === undefined || bytes.length === 0) {
      throw new InvalidTokenError(INVALID_TOKEN, { detail: 'no token' });
    }
    if (bytes.length > MAX_JWT_BYTES) {
      throw new InvalidTokenError(INVALID_TOKEN, { detail: 'too long for a token' });
    }
    return admit(await knownTokens.findOr(bytes, () => verify(bytes)));
  };
}
