/**
 * Access tokens: what a client presents to a resource server, such as a broker.
 *
 * Units   NumericDate; lifetimes in seconds.
 * Errors  `JwtError`; reason `audience` means a good token for somebody else.
 * Source  RFC 9068 2-4, RFC 8725; STANDARDS 3.1 and 3.10.
 *
 * @module
 */
import { type FormatError, JwtError } from './errors.js';
import {
  type ClientId,
  type Issuer,
  parseClientId,
  parseResourceId,
  type ResourceId,
} from './ids.js';
import type { JsonObject } from './json.js';
import {
  checkAudience,
  checkHeader,
  jtiClaim,
  lifetimeClaims,
  type ParsedJwt,
  parseJwt,
  signJwt,
  type VerifyingKey,
  verifySignature,
} from './jwt.js';
import { parseScope, type ScopeSet } from './scope.js';
import { SIGNING_ALGORITHMS, type TokenSigner } from './signer.js';
import type { NumericDate } from './time.js';
import type { VerifyingAlgorithm } from './token-algorithms.js';

const TYPE = 'at+jwt';
/** RFC 9068 4: both spellings. */
const TYPES = [TYPE, `application/${TYPE}`] as const;

/** Bounds and default of a token's lifetime. */
export const TOKEN_MIN_LIFETIME_SECONDS = 60;
export const TOKEN_MAX_LIFETIME_SECONDS = 86_400;
export const TOKEN_DEFAULT_LIFETIME_SECONDS = 900;

/** Where a client publishes its next token, QoS 1, to renew it within its MQTT session (ours). */
export const RENEW_TOPIC = '$latchkey/renew';

export interface AccessTokenClaims {
  readonly issuer: Issuer;
  readonly clientId: ClientId;
  readonly audience: ResourceId;
  readonly issuedAt: NumericDate;
  readonly expiresAt: NumericDate;
  readonly jti: string;
  /** Scope string as granted; may be empty. */
  readonly scope: string;
  /**
   * Adds `scp` (the scope as an array) and `cid` (the client id) for resource servers that read these
   * instead of `scope` and `client_id`. Default false.
   */
  readonly hasLegacyClaims?: boolean;
}

export async function signAccessToken(
  signer: TokenSigner,
  token: AccessTokenClaims,
): Promise<string> {
  const lifetime = token.expiresAt - token.issuedAt;
  if (!(lifetime >= 1 && lifetime <= TOKEN_MAX_LIFETIME_SECONDS)) {
    throw new RangeError(`the lifetime must be 1 to ${TOKEN_MAX_LIFETIME_SECONDS} s`);
  }
  return signJwt(signer, TYPE, {
    iss: token.issuer,
    sub: token.clientId,
    client_id: token.clientId,
    aud: token.audience,
    iat: token.issuedAt,
    exp: token.expiresAt,
    jti: token.jti,
    scope: token.scope,
    ...(token.hasLegacyClaims && {
      scp: token.scope === '' ? [] : token.scope.split(' '),
      cid: token.clientId,
    }),
  });
}

export interface VerifiedAccessToken {
  readonly clientId: ClientId;
  readonly jti: string;
  readonly kid: string | undefined;
  readonly issuedAt: NumericDate;
  readonly expiresAt: NumericDate;
  /** Parsed; a scope that cannot be read makes the token invalid rather than weaker. */
  readonly scope: ScopeSet;
}

export interface AccessTokenVerification {
  readonly issuer: Issuer;
  /** Own identifier; `aud` must be or contain it. */
  readonly audience: ResourceId;
  readonly now: NumericDate;
  /** The issuer's key with that id, or `undefined`. May reject with `UnavailableError`. */
  readonly findKey: (
    kid: string | undefined,
  ) => VerifyingKey | undefined | Promise<VerifyingKey | undefined>;
  /** Algorithms that are allowed; default EdDSA and Ed25519. */
  readonly algorithms?: readonly VerifyingAlgorithm[];
}

function readClientId(claims: JsonObject): ClientId {
  try {
    return parseClientId(claims.client_id);
  } catch (error) {
    throw new JwtError('claim', (error as FormatError).message, { claim: 'client_id' });
  }
}

function readScope(claims: JsonObject): ScopeSet {
  try {
    return parseScope(Object.hasOwn(claims, 'scope') ? claims.scope : '');
  } catch (error) {
    throw new JwtError('scope', (error as FormatError).message, { claim: 'scope' });
  }
}

/** A token as its own issuer sees it, which answers for those of all its resources. */
export interface VerifiedOwnToken extends VerifiedAccessToken {
  /** The one resource that it is for. */
  readonly audience: ResourceId;
}

function readAudience(aud: unknown): ResourceId {
  try {
    return parseResourceId(aud);
  } catch (error) {
    throw new JwtError('claim', (error as FormatError).message, { claim: 'aud' });
  }
}

/** Verifies a token for any audience. For the issuer itself; a resource server pins its own. */
export async function verifyOwnToken(
  text: unknown,
  options: Omit<AccessTokenVerification, 'audience'>,
): Promise<VerifiedOwnToken> {
  const { claims, ...token } = await verifyForAnyone(parseJwt(text), options);
  return { ...token, audience: readAudience(claims.aud), scope: readScope(claims) };
}

/** Verifies a token as RFC 9068 4 says, and everything that a JWT library leaves to its caller. */
export async function verifyAccessToken(
  text: unknown,
  options: AccessTokenVerification,
): Promise<VerifiedAccessToken> {
  return verifyParsedAccessToken(parseJwt(text), options);
}

/** As `verifyAccessToken`, of a token that was parsed to see whose it is. */
export async function verifyParsedAccessToken(
  jwt: ParsedJwt,
  options: AccessTokenVerification,
): Promise<VerifiedAccessToken> {
  const token = await verifyForAnyone(jwt, options);
  const { claims, clientId, jti, kid, issuedAt, expiresAt } = token;
  checkAudience(claims, options.audience);
  return { clientId, jti, kid, issuedAt, expiresAt, scope: readScope(claims) };
}

/** All checks but those of `aud` and `scope`, which are the caller's. */
async function verifyForAnyone(
  parsed: ParsedJwt,
  {
    issuer,
    now,
    findKey,
    algorithms = SIGNING_ALGORITHMS,
  }: Omit<AccessTokenVerification, 'audience'>,
): Promise<Omit<VerifiedAccessToken, 'scope'> & { readonly claims: JsonObject }> {
  const jwt = checkHeader(parsed, TYPES, algorithms);
  const { claims, kid } = jwt;
  // Before the key is looked up: a stranger's token must not make us fetch our issuer's keys.
  if (claims.iss !== issuer)
    throw new JwtError('issuer', 'iss is another issuer', { claim: 'iss' });
  await verifySignature(jwt, await findKey(kid));
  const clientId = readClientId(claims);
  if (claims.sub !== clientId) {
    throw new JwtError('claim', 'sub is not the client itself (RFC 9068 2.2)', { claim: 'sub' });
  }
  if (Object.hasOwn(claims, 'cnf')) {
    // RFC 7800 3: whoever holds it has to prove more, and here is no place for that.
    throw new JwtError('claim', 'the token is bound to a key, and comes without proof', {
      claim: 'cnf',
    });
  }
  const jti = jtiClaim(claims);
  const maxSeconds = TOKEN_MAX_LIFETIME_SECONDS;
  const { issuedAt, expiresAt } = lifetimeClaims(claims, { now, maxSeconds });
  return { clientId, jti, kid, issuedAt, expiresAt, claims };
}
