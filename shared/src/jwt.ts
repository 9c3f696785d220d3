/**
 * What all our JWT kinds share: one strict reader, one signature check, one writer.
 *
 * Units   sizes in bytes of ASCII text, times as NumericDate.
 * Errors  `JwtError`; the reason is for the log, strangers get one answer for all.
 * Source  RFC 7515, 7519, 8725; STANDARDS 2.3 and 3.10 (what jose lets pass and must be checked here).
 *
 * @module
 */
import { createPublicKey, type KeyObject } from 'node:crypto';
import { type FormatError, JwtError } from './errors.js';
import { type JsonObject, parseJsonObject } from './json.js';
import { decodeCanonicalBase64url } from './keys.js';
import { SIGNING_ALGORITHMS, type TokenSigner } from './signer.js';
import type { NumericDate } from './time.js';
import {
  fitsAlgorithm,
  isSameAlgorithm,
  isSignatureLength,
  isSignatureOver,
  type VerifyingAlgorithm,
} from './token-algorithms.js';

/** Largest JWT read. A CONNECT packet and a form body hold more. */
export const MAX_JWT_BYTES = 8192;

const COMPACT = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;
/** Members that would change how a signature is checked or where a key comes from. */
const FORBIDDEN_HEADERS = ['crit', 'b64', 'jwk', 'jku', 'x5u', 'x5c', 'zip', 'enc'] as const;
const MAX_KID_LENGTH = 256;
/** Year 9999: later instants are a mistake or an attack (`1e400` becomes Infinity). */
const MAX_INSTANT = 253_402_300_799;

/** A JWT of which nothing but the form was checked, parsed once for all who look at it. */
export interface ParsedJwt {
  /** What the signature is over: header and payload as they came (RFC 7515 5.2). */
  readonly signingInput: Uint8Array;
  readonly signature: Uint8Array;
  readonly header: JsonObject;
  readonly claims: JsonObject;
}

/** A JWT whose header is right too; the signature was not checked yet. */
export interface UnverifiedJwt {
  readonly signingInput: Uint8Array;
  readonly signature: Uint8Array;
  readonly alg: VerifyingAlgorithm;
  readonly kid: string | undefined;
  readonly claims: JsonObject;
}

function fail(reason: JwtError['reason'], message: string, claim?: string): never {
  throw new JwtError(reason, message, claim === undefined ? {} : { claim });
}

function readPart(part: string, name: string): JsonObject {
  const bytes = decodeCanonicalBase64url(part);
  if (bytes === undefined) return fail('malformed', `the ${name} is not canonical base64url`);
  try {
    return parseJsonObject(bytes, name);
  } catch (error) {
    throw new JwtError('malformed', (error as FormatError).message);
  }
}

/** What a signature is checked with. */
export interface VerifyingKey {
  /** The algorithm that it is for; without one, whichever its kind of key has. */
  readonly alg?: VerifyingAlgorithm;
  readonly keyObject: KeyObject;
}

/**
 * Parses a compact JWT without trusting it. Refuses every other spelling of the same token, so that
 * caches and lists keyed by the text cannot be bypassed (STANDARDS 3.13).
 */
export function parseJwt(text: unknown): ParsedJwt {
  if (typeof text !== 'string' || text.length > MAX_JWT_BYTES || !COMPACT.test(text)) {
    return fail('malformed', `not a compact JWT of at most ${MAX_JWT_BYTES} bytes`);
  }
  const [headerPart, payloadPart, signaturePart] = text.split('.') as [string, string, string];
  const signature = decodeCanonicalBase64url(signaturePart);
  if (signature === undefined) {
    return fail('malformed', 'the signature is not canonical base64url');
  }
  return {
    signingInput: Buffer.from(text.slice(0, -signaturePart.length - 1), 'latin1'),
    signature,
    header: readPart(headerPart, 'header'),
    claims: readPart(payloadPart, 'payload'),
  };
}

/**
 * Checks the header of a parsed JWT. `algorithms` are those of Ed25519 unless the caller allows
 * others.
 */
export function checkHeader(
  { signingInput, signature, header, claims }: ParsedJwt,
  allowedTypes: readonly (string | undefined)[],
  algorithms: readonly VerifyingAlgorithm[] = SIGNING_ALGORITHMS,
): UnverifiedJwt {
  if (!algorithms.some((alg) => isSignatureLength(alg, signature.length))) {
    return fail('malformed', 'the signature is not of the right length');
  }
  for (const name of FORBIDDEN_HEADERS) {
    if (Object.hasOwn(header, name)) fail('header', 'a header member is not allowed', name);
  }
  const alg = algorithms.find((allowed) => allowed === header.alg);
  if (alg === undefined) return fail('algorithm', `alg is not ${algorithms.join(' or ')}`, 'alg');
  if (!(allowedTypes as readonly unknown[]).includes(header.typ)) {
    fail('type', 'typ is not the one expected here', 'typ');
  }
  const { kid } = header;
  if (kid !== undefined && (typeof kid !== 'string' || kid.length > MAX_KID_LENGTH)) {
    return fail('header', 'kid is not a short string', 'kid');
  }
  return { signingInput, signature, alg, kid, claims };
}

/** Parses a compact JWT and checks its header. */
export function readJwt(
  text: unknown,
  allowedTypes: readonly (string | undefined)[],
): UnverifiedJwt {
  return checkHeader(parseJwt(text), allowedTypes);
}

/** The base point as public key: well-formed, and nobody's. Checking against it costs what a real check does. */
const decoyKey: KeyObject = createPublicKey({
  key: { kty: 'OKP', crv: 'Ed25519', x: 'WGZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmY' },
  format: 'jwk',
});

/** RSA keys fit two algorithms, so the kind of key alone does not tell which one it is for. */
function isFor({ alg, keyObject }: VerifyingKey, wanted: VerifyingAlgorithm): boolean {
  return isSameAlgorithm(alg ?? wanted, wanted) && fitsAlgorithm(wanted, keyObject);
}

/**
 * Checks the signature. Without a key it checks against a decoy and then refuses, so that an
 * unknown client takes as long as a bad signature.
 */
export async function verifySignature(
  jwt: UnverifiedJwt,
  key: VerifyingKey | undefined,
): Promise<void> {
  // RFC 8725 3.1: a key is for one algorithm, whatever the header asks for.
  if (key !== undefined && !isFor(key, jwt.alg)) fail('key', 'the key is of another algorithm');
  const checked =
    key === undefined
      ? { alg: 'EdDSA' as const, key: decoyKey }
      : { alg: jwt.alg, key: key.keyObject };
  const isValid = await isSignatureOver(jwt.signingInput, jwt.signature, checked);
  if (key === undefined) fail('key', 'the signature is not valid');
  if (!isValid) fail('signature', 'the signature is not valid');
}

/** A required claim that must be a non-empty string of at most `maxLength` characters. */
export function stringClaim(claims: JsonObject, name: string, maxLength = 255): string {
  const value = claims[name];
  if (typeof value !== 'string' || value.length === 0 || value.length > maxLength) {
    return fail('claim', `${name} is not a string of 1 to ${maxLength} characters`, name);
  }
  return value;
}

/** A required claim that must be a NumericDate in whole seconds. */
export function instantClaim(claims: JsonObject, name: string): NumericDate {
  const value = claims[name];
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > MAX_INSTANT) {
    return fail('claim', `${name} is not a whole number of seconds`, name);
  }
  return value;
}

/** `nbf` is optional, but honoured when it is there. */
export function notBeforeClaim(claims: JsonObject): NumericDate {
  return Object.hasOwn(claims, 'nbf') ? instantClaim(claims, 'nbf') : 0;
}

/** How far ahead the issuer's clock may be. `exp` has no tolerance: at `exp` the token is expired. */
export const TOKEN_CLOCK_TOLERANCE_SECONDS = 60;

/** `iat` and `exp` of a token that is valid now, `nbf` included. */
export function lifetimeClaims(
  claims: JsonObject,
  { now, maxSeconds }: { readonly now: NumericDate; readonly maxSeconds: number },
): { readonly issuedAt: NumericDate; readonly expiresAt: NumericDate } {
  const issuedAt = instantClaim(claims, 'iat');
  const expiresAt = instantClaim(claims, 'exp');
  if (expiresAt <= issuedAt || expiresAt - issuedAt > maxSeconds) {
    fail('claim', `exp is not 1 s to ${maxSeconds} s after iat`, 'exp');
  }
  if (expiresAt <= now) fail('expired', 'the token is expired', 'exp');
  if (Math.max(issuedAt, notBeforeClaim(claims)) > now + TOKEN_CLOCK_TOLERANCE_SECONDS) {
    fail('not-yet-valid', 'the token is from the future', 'iat');
  }
  return { issuedAt, expiresAt };
}

/** `aud` must be or contain the audience, and hold nothing but text. */
export function checkAudience({ aud }: JsonObject, audience: string): void {
  const all: readonly unknown[] = Array.isArray(aud) ? aud : [aud];
  if (all.every((value) => typeof value === 'string') && all.includes(audience)) return;
  fail('audience', 'aud is another resource', 'aud');
}

/** `jti` of 16 to 128 printable characters; a shorter one cannot be unique by chance. */
export function jtiClaim(claims: JsonObject): string {
  const jti = stringClaim(claims, 'jti', 128);
  if (!/^[\x21-\x7e]{16,}$/.test(jti))
    fail('claim', 'jti is not 16 to 128 printable characters', 'jti');
  return jti;
}

/** Writes and signs a compact JWT; `typ` and the signer's `alg` and `kid` make the header. */
export async function signJwt(
  signer: TokenSigner,
  typ: string,
  claims: JsonObject,
): Promise<string> {
  const header = { alg: signer.alg, typ, kid: signer.publicKey.kid };
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signingInput = `${encode(header)}.${encode(claims)}`;
  const signature = await signer.sign(Buffer.from(signingInput));
  return `${signingInput}.${Buffer.from(signature).toString('base64url')}`;
}
