/**
 * JWTs made by hand, well-formed or not, and the kinds of JWT that our verifiers must tell apart.
 *
 * Units   NumericDate.
 *
 * @module
 */
import { sign } from 'node:crypto';
import {
  type AssertionUse,
  type ClientId,
  generateKey,
  hashEnrollmentCode,
  type Issuer,
  type PrivateKey,
  type PublicKey,
  parseClientId,
  parseIssuer,
  parseResourceId,
  type ResourceId,
  verifyAccessToken,
  verifyAssertion,
  verifyEnrollmentProof,
} from '@latchkey/shared';

export const NOW = 1_760_000_000;
export const ISSUER: Issuer = parseIssuer('https://id.example');
export const AUDIENCE: ResourceId = parseResourceId('mqtts://broker.example');
export const CLIENT_ID: ClientId = parseClientId('t-42');
export const ENROLLMENT_CODE = 'lke_AAAAAAAAAAAAAAAAAAAAAA';
export const KEY: PrivateKey = generateKey();
export const OTHER_KEY: PrivateKey = generateKey();
const JTI = '0123456789abcdef';

/** A JSON object, or its text, or bytes that may not even be text. */
export type Part = object | string | Uint8Array;

function encoded(part: Part): string {
  if (part instanceof Uint8Array) return Buffer.from(part).toString('base64url');
  return Buffer.from(typeof part === 'string' ? part : JSON.stringify(part)).toString('base64url');
}

/** Joins and signs whatever it is given. */
export function signedJwt(header: Part, claims: Part, key: PrivateKey = KEY): string {
  const input = `${encoded(header)}.${encoded(claims)}`;
  return `${input}.${sign(null, Buffer.from(input), key.keyObject).toString('base64url')}`;
}

export interface JwtKind {
  readonly name: string;
  readonly typ: string;
  /** Claims that the verifier accepts at `NOW`. */
  readonly claims: Readonly<Record<string, unknown>>;
  /** Verifies with the key given, or with none. */
  verify(text: unknown, key?: PublicKey | null, now?: number): Promise<unknown>;
}

const found = (key: PublicKey | null | undefined) =>
  key === null ? undefined : (key ?? KEY.publicKey);

const assertion = (name: string, typ: string, use: AssertionUse): JwtKind => ({
  name,
  typ,
  claims: { iss: CLIENT_ID, sub: CLIENT_ID, aud: ISSUER, iat: NOW, exp: NOW + 60, jti: JTI },
  verify: (text, key, now = NOW) =>
    verifyAssertion(text, { issuer: ISSUER, use, now, findKey: async () => found(key) }),
});

export const GRANT: JwtKind = assertion('grant assertion', 'device-assertion+jwt', 'grant');
export const CLIENT_AUTHENTICATION: JwtKind = assertion(
  'client authentication',
  'client-authentication+jwt',
  'client-authentication',
);
export const VOUCHER: JwtKind = assertion(
  'voucher of a key rotation',
  'key-rotation+jwt',
  'key-rotation',
);
export const ACCESS_TOKEN: JwtKind = {
  name: 'access token',
  typ: 'at+jwt',
  claims: {
    iss: ISSUER,
    sub: CLIENT_ID,
    client_id: CLIENT_ID,
    aud: AUDIENCE,
    iat: NOW,
    exp: NOW + 900,
    jti: JTI,
    scope: 'pub:devices/t-42/#',
  },
  verify: (text, key, now = NOW) =>
    verifyAccessToken(text, { issuer: ISSUER, audience: AUDIENCE, now, findKey: () => found(key) }),
};
/** Its key comes with the request, so there is always one. */
export const ENROLLMENT_PROOF: JwtKind = {
  name: 'enrollment proof',
  typ: 'enrollment-proof+jwt',
  claims: {
    iss: CLIENT_ID,
    sub: CLIENT_ID,
    aud: ISSUER,
    iat: NOW,
    jti: JTI,
    code_hash: hashEnrollmentCode(ENROLLMENT_CODE),
  },
  verify: (text, key, now = NOW) =>
    verifyEnrollmentProof(text, key ?? KEY.publicKey, {
      issuer: ISSUER,
      clientId: CLIENT_ID,
      enrollmentCode: ENROLLMENT_CODE,
      now,
    }),
};

export const JWT_KINDS: readonly JwtKind[] = [
  GRANT,
  CLIENT_AUTHENTICATION,
  VOUCHER,
  ACCESS_TOKEN,
  ENROLLMENT_PROOF,
];

/** A good header of the kind, with changes. */
export function headerOf(kind: JwtKind, changes: object = {}): object {
  return { alg: 'EdDSA', typ: kind.typ, kid: KEY.publicKey.kid, ...changes };
}

/** The kind's JWT with changed claims; `undefined` takes one away. */
export function jwtOf(kind: JwtKind, changes: object = {}, key: PrivateKey = KEY): string {
  return signedJwt(headerOf(kind), { ...kind.claims, ...changes }, key);
}
