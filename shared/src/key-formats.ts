/**
 * Public keys as people and factories hand them over: JWK, PEM, OpenSSH, hex and base64.
 *
 * Units   raw public key 32 bytes.
 * Errors  `FormatError`. A private key pasted by mistake is named as such, and never echoed.
 * Source  RFC 8410 (PEM), RFC 8709 4 and RFC 4251 5 (OpenSSH), RFC 8037 (JWK).
 *
 * @module
 */
import { createHash, createPublicKey } from 'node:crypto';
import { FormatError } from './errors.js';
import { parseJsonObject } from './json.js';
import {
  decodeCanonicalBase64url,
  importRawPublicKey,
  type PublicKey,
  rawOfPublicJwk,
} from './keys.js';

const MAX_TEXT_LENGTH = 4096;
/** DER of SubjectPublicKeyInfo for Ed25519 up to the 32 key bytes (RFC 8410 4). */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');
/** `string "ssh-ed25519"` and the length of the key that follows (RFC 8709 4). */
const OPENSSH_PREFIX = Buffer.from('0000000b7373682d6564323535313900000020', 'hex');

function rawAfter(prefix: Buffer, blob: Buffer): Uint8Array | undefined {
  const fits = blob.length === prefix.length + 32 && blob.subarray(0, prefix.length).equals(prefix);
  return fits ? blob.subarray(prefix.length) : undefined;
}

function rawOfPem(pem: string, field: string): Uint8Array {
  if (pem.split('-----BEGIN').length > 2)
    throw new FormatError(field, 'holds more than one PEM block');
  let raw: Uint8Array | undefined;
  try {
    const spki = createPublicKey({ key: pem, format: 'pem' }).export({
      type: 'spki',
      format: 'der',
    });
    raw = rawAfter(SPKI_PREFIX, spki);
  } catch {
    throw new FormatError(field, 'is not a readable PEM public key');
  }
  if (raw === undefined) throw new FormatError(field, 'is not an Ed25519 key');
  return raw;
}

function rawOfOpenSsh(line: string, field: string): Uint8Array {
  const [, base64 = ''] = /^ssh-ed25519[ \t]+([A-Za-z0-9+/]+)(?:[ \t].*)?$/.exec(line) ?? [];
  const raw = rawAfter(OPENSSH_PREFIX, Buffer.from(base64, 'base64'));
  if (raw === undefined) throw new FormatError(field, 'is not a readable ssh-ed25519 line');
  return raw;
}

/**
 * The 32 bytes of a public key in any of the forms that are told apart by their looks: a JWK (JSON),
 * PEM, an OpenSSH line, 64 hex digits, or 32 bytes in base64 or base64url. They are not yet checked to
 * be a point, which is up to whoever registers the key.
 */
export function rawOfPublicKeyText(input: string, field = 'public key'): Uint8Array {
  const text = input.trim();
  if (text.length > MAX_TEXT_LENGTH)
    throw new FormatError(field, `must not exceed ${MAX_TEXT_LENGTH} characters`);
  if (text.includes('PRIVATE KEY')) {
    throw new FormatError(field, 'holds a private key; give only the public part');
  }
  if (text.startsWith('{')) return rawOfPublicJwk(parseJsonObject(Buffer.from(text), field), field);
  if (text.startsWith('-----BEGIN')) return rawOfPem(text, field);
  if (text.startsWith('ssh-ed25519')) return rawOfOpenSsh(text, field);
  if (/^[0-9a-f]{64}$/i.test(text)) return Buffer.from(text, 'hex');
  const base64url = text.replace(/=$/, '').replaceAll('+', '-').replaceAll('/', '_');
  const raw = decodeCanonicalBase64url(base64url);
  if (raw?.length === 32) return raw;
  throw new FormatError(
    field,
    'is in no known form; known: JWK, PEM, OpenSSH ssh-ed25519, 64 hex digits, 32 bytes in base64',
  );
}

/** Reads a public key in any of these forms, with all checks of a registration. */
export function parsePublicKey(input: string, field = 'public key'): PublicKey {
  return importRawPublicKey(rawOfPublicKeyText(input, field), field);
}

/** SubjectPublicKeyInfo PEM (RFC 8410). */
export function formatPem(key: PublicKey): string {
  const base64 = Buffer.concat([SPKI_PREFIX, Buffer.from(key.jwk.x, 'base64url')]).toString(
    'base64',
  );
  return `-----BEGIN PUBLIC KEY-----\n${base64}\n-----END PUBLIC KEY-----\n`;
}

/** The key as SSH sends it (RFC 8709 4). */
export function openSshBlob(key: PublicKey): Buffer {
  return Buffer.concat([OPENSSH_PREFIX, Buffer.from(key.jwk.x, 'base64url')]);
}

/** Reads such a blob, with all checks; `undefined` for a key of another type. */
export function parseOpenSshBlob(blob: Buffer, field = 'public key'): PublicKey | undefined {
  const raw = rawAfter(OPENSSH_PREFIX, blob);
  return raw && importRawPublicKey(raw, field);
}

/** One line as in `authorized_keys`. */
export function formatOpenSsh(key: PublicKey, comment = ''): string {
  const blob = openSshBlob(key).toString('base64');
  return `ssh-ed25519 ${blob}${comment ? ` ${comment}` : ''}\n`;
}

/** `SHA256:` and 43 characters of base64, as `ssh-add -l` and `ssh-keygen -l` print it. */
export function formatOpenSshFingerprint(key: PublicKey): string {
  const digest = createHash('sha256').update(openSshBlob(key)).digest('base64');
  return `SHA256:${digest.replace(/=$/, '')}`;
}
