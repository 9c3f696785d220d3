/**
 * How a client replaces its key by itself: the old key vouches for the new one, and the new one proves
 * that it is held.
 *
 * The voucher is an assertion of a type of its own, so that no other assertion can be turned into one.
 * The proof names the voucher by its hash: neither can be sent with another in its place.
 *
 * Units   NumericDate.
 * Errors  `JwtError`; `FormatError` for a key that cannot be registered.
 * Source  RFC 7523 3, RFC 7800 3.2 (`cnf`); STANDARDS 3.9 (keys are checked and held); DESIGN 9 (I9).
 *
 * @module
 */
import { createHash } from 'node:crypto';
import {
  type AssertionVerification,
  signAssertion,
  type VerifiedAssertion,
  verifyAssertion,
} from './assertion.js';
import { FormatError, JwtError } from './errors.js';
import type { ClientId, Issuer } from './ids.js';
import { readJwt, signJwt, verifySignature } from './jwt.js';
import { importPublicJwk, type PublicKey } from './keys.js';
import type { Signer } from './signer.js';
import type { NumericDate } from './time.js';

const PROOF_TYPE = 'key-rotation-proof+jwt';

export interface KeyRotationRequest {
  /** Signed by the old key. */
  readonly voucher: string;
  /** Signed by the new key. */
  readonly proof: string;
}

const hashOf = (voucher: string): string =>
  createHash('sha256').update(voucher).digest('base64url');

function proofClaims(voucher: string, clientId: ClientId, issuer: Issuer) {
  return { iss: clientId, sub: clientId, aud: issuer, voucher_hash: hashOf(voucher) };
}

export async function signKeyRotation(options: {
  readonly oldSigner: Signer;
  readonly newSigner: Signer;
  readonly issuer: Issuer;
  readonly clientId: ClientId;
  readonly now: NumericDate;
}): Promise<KeyRotationRequest> {
  const { oldSigner, newSigner, issuer, clientId, now } = options;
  const voucher = await signAssertion(oldSigner, {
    ...{ clientId, issuer, now, use: 'key-rotation' },
    vouchedJwk: newSigner.publicKey.jwk,
  });
  const proof = await signJwt(newSigner, PROOF_TYPE, proofClaims(voucher, clientId, issuer));
  return { voucher, proof };
}

export interface VerifiedKeyRotation {
  /** By the old key; the caller must spend it before acting on it (I6). */
  readonly assertion: VerifiedAssertion;
  readonly newKey: PublicKey;
}

/** The key of the `cnf` claim, with every check that a registration makes. */
function vouchedKey(confirmation: unknown): PublicKey {
  const { jwk, ...others } = { ...(confirmation as { jwk?: unknown } | undefined) };
  if (jwk === undefined || Object.keys(others).length > 0) {
    throw new FormatError('voucher', 'must have a cnf with jwk alone');
  }
  return importPublicJwk(jwk, 'new key');
}

export async function verifyKeyRotation(
  { voucher, proof }: { readonly voucher: unknown; readonly proof: unknown },
  { issuer, now, findKey }: Omit<AssertionVerification, 'use'>,
): Promise<VerifiedKeyRotation> {
  const assertion = await verifyAssertion(voucher, { issuer, now, findKey, use: 'key-rotation' });
  const newKey = vouchedKey(assertion.confirmation);
  if (newKey.kid === assertion.kid) throw new FormatError('new key', 'is the old one');
  const jwt = readJwt(proof, [PROOF_TYPE]);
  await verifySignature(jwt, newKey);
  const expected = proofClaims(voucher as string, assertion.clientId, issuer);
  for (const [claim, value] of Object.entries(expected)) {
    if (jwt.claims[claim] !== value) {
      throw new JwtError('claim', `${claim} does not belong to the voucher`, { claim });
    }
  }
  return { assertion, newKey };
}
