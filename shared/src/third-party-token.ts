/**
 * Access tokens of other authorization servers, which need not follow RFC 9068.
 *
 * Everything that RFC 9068 asks for and is about safety is asked for here too; what differs between
 * servers is told by rules. Which claims hold the client id and the scopes is the caller's to say.
 *
 * Units   NumericDate; lifetimes in seconds.
 * Errors  `JwtError`; reason `audience` means a good token for somebody else.
 * Source  RFC 9068 4, RFC 8725 3; OpenID Connect Core 2 and 3.1.3.6 (claims of ID tokens), RFC 7800 3.1
 *         (`cnf`), RFC 8417 2.2 (`events`).
 *
 * @module
 */
import { JwtError } from './errors.js';
import type { JsonObject } from './json.js';
import {
  checkAudience,
  checkHeader,
  lifetimeClaims,
  type ParsedJwt,
  stringClaim,
  type VerifyingKey,
  verifySignature,
} from './jwt.js';
import type { NumericDate } from './time.js';
import type { VerifyingAlgorithm } from './token-algorithms.js';

/**
 * `typ` of the header: that of RFC 9068, or what older servers write, which does not tell an access
 * token from an ID token. `absent`: no `typ` at all.
 */
export const THIRD_PARTY_TOKEN_TYPES = ['at+jwt', 'JWT', 'absent'] as const;
export type ThirdPartyTokenType = (typeof THIRD_PARTY_TOKEN_TYPES)[number];

const HEADER_TYPES: Readonly<Record<ThirdPartyTokenType, readonly (string | undefined)[]>> = {
  'at+jwt': ['at+jwt', 'application/at+jwt'],
  JWT: ['JWT'],
  absent: [undefined],
};

/**
 * Claims that no access token for us has: ID tokens (`nonce` and hashes), security events and logout
 * tokens, and tokens that are worth nothing without proof of a key, which we do not ask for.
 */
const FORBIDDEN_CLAIMS = ['nonce', 'at_hash', 'c_hash', 's_hash', 'events', 'cnf'] as const;

export interface ThirdPartyTokenRules {
  /** Compared as text: `https://id.example/` is another issuer than `https://id.example`. */
  readonly issuer: string;
  readonly audience: string;
  readonly algorithms: readonly VerifyingAlgorithm[];
  readonly types: readonly ThirdPartyTokenType[];
  /** Longest time from `iat` to `exp`. */
  readonly maxLifetimeSeconds: number;
  /** Claims that a token must have, with exactly these values. */
  readonly requiredClaims: ReadonlyMap<string, string>;
}

export interface VerifiedThirdPartyToken {
  readonly jti: string | undefined;
  readonly kid: string | undefined;
  readonly issuedAt: NumericDate;
  readonly expiresAt: NumericDate;
  readonly claims: JsonObject;
}

function optionalJti(claims: JsonObject): string | undefined {
  if (!Object.hasOwn(claims, 'jti')) return undefined;
  const jti = stringClaim(claims, 'jti');
  if (/^[\x21-\x7e]+$/.test(jti)) return jti;
  throw new JwtError('claim', 'jti has characters that are not printable', { claim: 'jti' });
}

function checkKind(claims: JsonObject, requiredClaims: ReadonlyMap<string, string>): void {
  for (const claim of FORBIDDEN_CLAIMS) {
    if (!Object.hasOwn(claims, claim)) continue;
    throw new JwtError('claim', `an access token for a broker has no ${claim}`, { claim });
  }
  // Keycloak tells its kinds of token apart by a claim of that name: ID, Refresh, Offline, Logout.
  if (Object.hasOwn(claims, 'typ') && claims.typ !== 'Bearer') {
    throw new JwtError('claim', 'the claim typ is not Bearer', { claim: 'typ' });
  }
  for (const [claim, value] of requiredClaims) {
    if (claims[claim] === value) continue;
    throw new JwtError('claim', `${claim} is not the value that is required`, { claim });
  }
}

/** Verifies all that does not depend on where a server puts the client id and the scopes. */
export async function verifyThirdPartyToken(
  parsed: ParsedJwt,
  {
    now,
    findKey,
    ...rules
  }: ThirdPartyTokenRules & {
    readonly now: NumericDate;
    /** The issuer's key with that id, or `undefined`. May reject with `UnavailableError`. */
    readonly findKey: (
      kid: string | undefined,
    ) => VerifyingKey | undefined | Promise<VerifyingKey | undefined>;
  },
): Promise<VerifiedThirdPartyToken> {
  const types = rules.types.flatMap((type) => HEADER_TYPES[type]);
  const jwt = checkHeader(parsed, types, rules.algorithms);
  const { claims, kid } = jwt;
  // Before the key is looked up: a stranger's token must not make us fetch the issuer's keys.
  if (claims.iss !== rules.issuer) {
    throw new JwtError('issuer', 'iss is another issuer', { claim: 'iss' });
  }
  await verifySignature(jwt, await findKey(kid));
  checkKind(claims, rules.requiredClaims);
  stringClaim(claims, 'sub');
  const jti = optionalJti(claims);
  const lifetime = lifetimeClaims(claims, { now, maxSeconds: rules.maxLifetimeSeconds });
  checkAudience(claims, rules.audience);
  return { jti, kid, ...lifetime, claims };
}
