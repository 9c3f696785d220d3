/**
 * Assertions: JWTs by which a client proves who it is at the authorization server.
 *
 * Units   NumericDate; lifetimes and tolerances in seconds.
 * Errors  `JwtError`. Its message is for the log; the token endpoint answers all of them alike, and
 *         tells only the owner of the key (signature verified) that its clock is wrong.
 * Source  RFC 7523 3, RFC 7521 5.2 and 6.2, 7523bis (audience = issuer alone); STANDARDS 2.1-2.3.
 *
 * @module
 */
import { randomBytes } from 'node:crypto';
import { JwtError } from './errors.js';
import { type ClientId, type Issuer, type Kid, parseClientId } from './ids.js';
import type { JsonObject } from './json.js';
import {
  instantClaim,
  jtiClaim,
  notBeforeClaim,
  readJwt,
  signJwt,
  verifySignature,
} from './jwt.js';
import type { PublicJwk, PublicKey } from './keys.js';
import type { Signer } from './signer.js';
import type { NumericDate } from './time.js';

/** What an assertion is used for; one made for another use is refused by its `typ`. */
export type AssertionUse = 'grant' | 'client-authentication' | 'key-rotation';

/** `typ` of each use: the one that is written, then what else is accepted. */
const TYPES = {
  grant: ['device-assertion+jwt', 'JWT', undefined],
  'client-authentication': ['client-authentication+jwt', 'JWT', undefined],
  'key-rotation': ['key-rotation+jwt'],
} as const;

/** `client_assertion_type` of a client that authenticates by an assertion (RFC 7523 2.2). */
export const CLIENT_ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

/** Longest time from `iat` to `exp`, and greatest age at use. */
export const ASSERTION_MAX_LIFETIME_SECONDS = 300;
/** How far a client's clock may be off. */
export const ASSERTION_CLOCK_TOLERANCE_SECONDS = 120;

/** 128 random bits, base64url. */
export function newJti(): string {
  return randomBytes(16).toString('base64url');
}

export interface AssertionOptions {
  readonly clientId: ClientId;
  /** The authorization server, sole value of `aud`. */
  readonly issuer: Issuer;
  readonly now: NumericDate;
  readonly use?: AssertionUse;
  /** 1 to 300; default 60. */
  readonly lifetimeSeconds?: number;
  readonly jti?: string;
  /** The key that the signer vouches for, of a `key-rotation` (RFC 7800 3.2). */
  readonly vouchedJwk?: PublicJwk;
}

export async function signAssertion(signer: Signer, options: AssertionOptions): Promise<string> {
  const { clientId, issuer, now, use = 'grant', lifetimeSeconds = 60, jti = newJti() } = options;
  const { vouchedJwk: jwk } = options;
  if (!(lifetimeSeconds >= 1 && lifetimeSeconds <= ASSERTION_MAX_LIFETIME_SECONDS)) {
    throw new RangeError(`lifetimeSeconds must be 1 to ${ASSERTION_MAX_LIFETIME_SECONDS}`);
  }
  return signJwt(signer, TYPES[use][0], {
    iss: clientId,
    sub: clientId,
    aud: issuer,
    iat: now,
    exp: now + lifetimeSeconds,
    jti,
    ...(jwk && { cnf: { jwk } }),
  });
}

export interface VerifiedAssertion {
  readonly clientId: ClientId;
  readonly kid: Kid;
  readonly jti: string;
  readonly expiresAt: NumericDate;
  /** Until then (`exp` and tolerance) the pair (`clientId`, `jti`) must be remembered as spent. */
  readonly rememberUntil: NumericDate;
  /** `cnf` as it came: the key that the signer vouches for, if any. */
  readonly confirmation: unknown;
}

export interface AssertionVerification {
  readonly issuer: Issuer;
  readonly use: AssertionUse;
  readonly now: NumericDate;
  /** The registered, active key of an active client, or `undefined`. `kid` selects among them. */
  readonly findKey: (clientId: ClientId, kid: string | undefined) => Promise<PublicKey | undefined>;
}

function issuerOf(claims: JsonObject): ClientId | undefined {
  try {
    return parseClientId(claims.iss);
  } catch {
    return undefined;
  }
}

function checkTimes(claims: JsonObject, now: NumericDate): NumericDate {
  const iat = instantClaim(claims, 'iat');
  const exp = instantClaim(claims, 'exp');
  const nbf = notBeforeClaim(claims);
  if (exp <= iat || exp > iat + ASSERTION_MAX_LIFETIME_SECONDS) {
    throw new JwtError('claim', 'exp is not 1 to 300 s after iat', { claim: 'exp' });
  }
  const clockOffsetSeconds = iat - now;
  const tolerance = ASSERTION_CLOCK_TOLERANCE_SECONDS;
  if (Math.max(iat, nbf) > now + tolerance) {
    throw new JwtError('not-yet-valid', 'issued in the future', {
      claim: 'iat',
      clockOffsetSeconds,
    });
  }
  if (exp <= now - tolerance) {
    throw new JwtError('expired', 'expired', { claim: 'exp', clockOffsetSeconds });
  }
  return exp;
}

/**
 * Verifies everything but freshness: the caller must spend (`clientId`, `jti`) in one statement
 * before acting on the result (I6).
 */
export async function verifyAssertion(
  text: unknown,
  { issuer, use, now, findKey }: AssertionVerification,
): Promise<VerifiedAssertion> {
  const jwt = readJwt(text, TYPES[use]);
  const clientId = issuerOf(jwt.claims);
  const key = clientId === undefined ? undefined : await findKey(clientId, jwt.kid);
  await verifySignature(jwt, key);
  const { claims } = jwt;
  if (claims.sub !== clientId) {
    throw new JwtError('claim', 'sub is not the client itself', { claim: 'sub' });
  }
  const audience: unknown =
    Array.isArray(claims.aud) && claims.aud.length === 1 ? claims.aud[0] : claims.aud;
  if (audience !== issuer) {
    throw new JwtError('audience', 'aud is not the issuer identifier alone', { claim: 'aud' });
  }
  const jti = jtiClaim(claims);
  const expiresAt = checkTimes(claims, now);
  return {
    clientId: clientId as ClientId,
    kid: (key as PublicKey).kid,
    jti,
    expiresAt,
    rememberUntil: expiresAt + ASSERTION_CLOCK_TOLERANCE_SECONDS,
    confirmation: claims.cnf,
  };
}
