/**
 * Ed25519 keys: making them, checking them, naming them by thumbprint.
 *
 * A public key is checked once, when it is registered: Node and OpenSSL accept small-order and
 * non-canonical points, with which one signature fits many messages; `prime-order.ts` does not.
 *
 * Units   raw public key 32 bytes, seed 32 bytes.
 * Errors  `FormatError` with field `public key` or `private key`; key material is never echoed.
 * Source  RFC 8032 5.1.3, RFC 8037 2, RFC 7638 3, RFC 8410; STANDARDS 3.9.
 *
 * @module
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto';
import { FormatError } from './errors.js';
import type { Kid } from './ids.js';
import { isPrimeOrderPoint } from './prime-order.js';

/** Public Ed25519 key as a JWK (RFC 8037 2), without optional members. */
export interface PublicJwk {
  readonly kty: 'OKP';
  readonly crv: 'Ed25519';
  /** 32 bytes, base64url. */
  readonly x: string;
}

export interface PublicKey {
  readonly kid: Kid;
  readonly jwk: PublicJwk;
  /** For verifying; made once, since making it costs as much as verifying. */
  readonly keyObject: KeyObject;
}

/** Never leaves the process that made or read it. */
export interface PrivateKey {
  readonly publicKey: PublicKey;
  readonly keyObject: KeyObject;
}

const RAW_LENGTH = 32;

/** RFC 7638 SHA-256 thumbprint of an Ed25519 public key. Takes the members in the order crv, kty, x. */
export function thumbprint(jwk: PublicJwk): Kid {
  const canonical = JSON.stringify({ crv: jwk.crv, kty: jwk.kty, x: jwk.x });
  return createHash('sha256').update(canonical).digest('base64url') as Kid;
}

function toPublicKey(raw: Uint8Array): PublicKey {
  return ofCanonical(Buffer.from(raw).toString('base64url'));
}

/** `x` has one spelling only, and is 32 bytes. */
function ofCanonical(x: string, kid?: Kid): PublicKey {
  const jwk: PublicJwk = { kty: 'OKP', crv: 'Ed25519', x };
  const keyObject = createPublicKey({ key: { ...jwk }, format: 'jwk' });
  return Object.freeze({ kid: kid ?? thumbprint(jwk), jwk: Object.freeze(jwk), keyObject });
}

/**
 * Makes a public key of 32 raw bytes after checking that they are the canonical encoding of a point
 * of prime order.
 */
export function importRawPublicKey(raw: Uint8Array, field = 'public key'): PublicKey {
  if (raw.length !== RAW_LENGTH) throw new FormatError(field, 'must be 32 bytes');
  if (!isPrimeOrderPoint(raw)) {
    throw new FormatError(field, 'is not a canonical Ed25519 point of prime order');
  }
  return toPublicKey(raw);
}

/** Decodes base64url that must re-encode to itself, so that one key has one spelling. */
export function decodeCanonicalBase64url(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text, 'base64url');
  return bytes.toString('base64url') === text ? bytes : undefined;
}

/**
 * Raw bytes of a public JWK, not yet checked to be a point; refuses private keys, other key types and
 * other spellings of `x`.
 */
export function rawOfPublicJwk(value: unknown, field: string): Uint8Array {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new FormatError(field, 'must be a JWK object');
  }
  const jwk: { readonly [member: string]: unknown } = { ...value };
  if (Object.hasOwn(jwk, 'd')) {
    throw new FormatError(field, 'holds a private key; send only the public part');
  }
  if (jwk.kty !== 'OKP' || jwk.crv !== 'Ed25519') {
    throw new FormatError(field, 'must have kty "OKP" and crv "Ed25519"');
  }
  if (jwk.alg !== undefined && jwk.alg !== 'EdDSA' && jwk.alg !== 'Ed25519') {
    throw new FormatError(field, 'names an alg other than EdDSA or Ed25519');
  }
  if (jwk.use !== undefined && jwk.use !== 'sig')
    throw new FormatError(field, 'is not for signatures');
  const raw = typeof jwk.x === 'string' ? decodeCanonicalBase64url(jwk.x) : undefined;
  if (raw?.length !== RAW_LENGTH)
    throw new FormatError(field, 'must have x of 32 bytes in base64url');
  return raw;
}

/** Imports a public JWK from outside, with all checks. */
export function importPublicJwk(value: unknown, field = 'public key'): PublicKey {
  return importRawPublicKey(rawOfPublicJwk(value, field), field);
}

/**
 * Brings back a key that was checked when it was registered; skips only the costly order check.
 * `kid`: its thumbprint, if that was kept with it; it is not computed again then.
 */
export function restorePublicKey(jwk: PublicJwk, kid?: Kid): PublicKey {
  rawOfPublicJwk(jwk, 'public key');
  return ofCanonical(jwk.x, kid);
}

function toPrivateKey(keyObject: KeyObject): PrivateKey {
  const spki = createPublicKey(keyObject).export({ type: 'spki', format: 'der' });
  return Object.freeze({ publicKey: toPublicKey(spki.subarray(-RAW_LENGTH)), keyObject });
}

/**
 * Makes a new key pair. Goes through DER, because exporting a freshly generated key as JWK can
 * deadlock Node 20 in garbage collection (STANDARDS 3.9).
 */
export function generateKey(): PrivateKey {
  const { privateKey } = generateKeyPairSync('ed25519', {
    publicKeyEncoding: { type: 'spki', format: 'der' },
    privateKeyEncoding: { type: 'pkcs8', format: 'der' },
  });
  return toPrivateKey(createPrivateKey({ key: privateKey, type: 'pkcs8', format: 'der' }));
}

/** Imports a private key from PKCS#8 PEM (RFC 8410). */
export function importPrivatePem(pem: string, field = 'private key'): PrivateKey {
  let keyObject: KeyObject;
  try {
    keyObject = createPrivateKey({ key: pem, format: 'pem' });
  } catch {
    throw new FormatError(field, 'is not an unencrypted PKCS#8 PEM private key');
  }
  if (keyObject.asymmetricKeyType !== 'ed25519')
    throw new FormatError(field, 'is not an Ed25519 key');
  return toPrivateKey(keyObject);
}

/** PKCS#8 PEM. For writing to a file of mode 0600 and nothing else. */
export function exportPrivatePem(key: PrivateKey): string {
  return key.keyObject.export({ type: 'pkcs8', format: 'pem' }).toString();
}
