/**
 * What a device sends to bind its new key: an enrollment code, and the proof that it holds the key.
 *
 * Units   NumericDate; lifetimes in seconds.
 * Errors  `JwtError`, `FormatError`.
 * Source  DESIGN 4 (Enrollment); RFC 7800 3 for the idea of a proof of possession.
 *
 * @module
 */
import { createHash, randomBytes } from 'node:crypto';
import { newJti } from './assertion.js';
import { FormatError, JwtError } from './errors.js';
import type { ClientId, Issuer } from './ids.js';
import { instantClaim, jtiClaim, readJwt, signJwt, verifySignature } from './jwt.js';
import type { PublicKey } from './keys.js';
import type { Signer } from './signer.js';
import type { NumericDate } from './time.js';

const TYPE = 'enrollment-proof+jwt';
/** Greatest difference between the proof's `iat` and now: a device's clock may be quite wrong. */
export const ENROLLMENT_PROOF_TOLERANCE_SECONDS = 600;

/** A new enrollment code: 128 random bits, base64url, with a prefix that tells what it is. */
export function newEnrollmentCode(): string {
  return `lke_${randomBytes(16).toString('base64url')}`;
}

/** Accepts what `newEnrollmentCode` makes; the value is a secret and never echoed. */
export function parseEnrollmentCode(value: unknown, field = 'enrollment_code'): string {
  if (typeof value !== 'string' || !/^lke_[A-Za-z0-9_-]{22}$/.test(value)) {
    throw new FormatError(
      field,
      'must be lke_ and 22 characters, as `enrollment create` printed it',
    );
  }
  return value;
}

const URI_BEGINNING = 'latchkey:enroll?';

/** What a QR code of an enrollment holds: `latchkey:enroll?issuer=…&code=…`. A secret, as the code is. */
export function formatEnrollmentUri({ issuer, code }: { issuer: Issuer; code: string }): string {
  return `${URI_BEGINNING}${new URLSearchParams({ issuer, code })}`;
}

/** Reads a code, or the URI of one, which must be for this authority: it would be told the code. */
export function parseEnrollmentText(text: string, issuer: Issuer): string {
  if (!text.startsWith(URI_BEGINNING)) return parseEnrollmentCode(text, 'enrollment code');
  const parameters = new URLSearchParams(text.slice(URI_BEGINNING.length));
  if (parameters.get('issuer') !== issuer) {
    throw new FormatError('enrollment code', `is for another authority than ${issuer}`);
  }
  return parseEnrollmentCode(parameters.get('code'), 'enrollment code');
}

/** SHA-256, base64url. Enough for a secret of 128 random bits; the code itself is not stored. */
export function hashEnrollmentCode(code: string): string {
  return createHash('sha256').update(code).digest('base64url');
}

export interface EnrollmentProof {
  readonly issuer: Issuer;
  readonly clientId: ClientId;
  readonly enrollmentCode: string;
  readonly now: NumericDate;
}

/** Signs, with the new key, which client it will belong to, where, and by which code. */
export function signEnrollmentProof(
  signer: Signer,
  { issuer, clientId, enrollmentCode, now }: EnrollmentProof,
): Promise<string> {
  return signJwt(signer, TYPE, {
    iss: clientId,
    sub: clientId,
    aud: issuer,
    iat: now,
    jti: newJti(),
    code_hash: hashEnrollmentCode(enrollmentCode),
  });
}

/** Verifies the proof with the key that is being registered. Use is bounded by the code, not by `jti`. */
export async function verifyEnrollmentProof(
  text: unknown,
  key: PublicKey,
  { issuer, clientId, enrollmentCode, now }: EnrollmentProof,
): Promise<void> {
  const jwt = readJwt(text, [TYPE]);
  await verifySignature(jwt, key);
  const { claims } = jwt;
  const expected = {
    iss: clientId,
    sub: clientId,
    aud: issuer,
    code_hash: hashEnrollmentCode(enrollmentCode),
  };
  for (const [claim, value] of Object.entries(expected)) {
    if (claims[claim] !== value) {
      throw new JwtError('claim', `${claim} does not belong to this request`, { claim });
    }
  }
  jtiClaim(claims);
  const clockOffsetSeconds = instantClaim(claims, 'iat') - now;
  if (Math.abs(clockOffsetSeconds) > ENROLLMENT_PROOF_TOLERANCE_SECONDS) {
    const reason = clockOffsetSeconds > 0 ? 'not-yet-valid' : 'expired';
    throw new JwtError(reason, 'iat is too far from now', { claim: 'iat', clockOffsetSeconds });
  }
}
