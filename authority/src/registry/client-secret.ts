/**
 * Client secrets: `lks_` and 256 random bits, so that scanners find one that leaked and nobody guesses one.
 *
 * Units   sizes in bytes.
 * Errors  `FormatError` for a secret from elsewhere that is not kept.
 * Source  RFC 6749 2.3.1 and 10.10.
 *
 * @module
 */
import { createHash, randomBytes } from 'node:crypto';
import { FormatError } from '@latchkey/shared';
import type { NewClientSecret } from './lifecycle.js';

const PREFIX = 'lks_';
const RANDOM_BYTES = 32;
/** Characters of the beginning that are shown later, to find which secret it is. */
const SHOWN_BEGINNING = PREFIX.length + 4;

/** Of 32 random hexadecimal digits fewer are different in one of a million. */
const MIN_DIFFERENT_CHARACTERS = 8;

/** A secret has more random bits than SHA-256 has room to search, so it needs no slow hash. */
export function hashClientSecret(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}

type Kept = Pick<NewClientSecret, 'hash' | 'prefix' | 'lastFour'>;

/**
 * What is kept of a secret that a service brings along from another authority. It is as long as random
 * ones are, since a plain hash protects no other.
 */
export function carriedSecret(secret: string): Kept {
  const hasRoom = new Set(secret).size >= MIN_DIFFERENT_CHARACTERS;
  if (!/^[\x21-\x7e]{32,256}$/.test(secret) || !hasRoom) {
    throw new FormatError(
      'client_secret',
      'must be 32 to 256 random characters; let the service have a new one: latchkey secret create',
    );
  }
  return { hash: hashClientSecret(secret), prefix: secret.slice(0, 4), lastFour: secret.slice(-4) };
}

/** A new secret, to be shown once, and what of it is kept. */
export function newClientSecret(): {
  readonly secret: string;
  readonly kept: Kept;
} {
  const secret = `${PREFIX}${randomBytes(RANDOM_BYTES).toString('base64url')}`;
  return {
    secret,
    kept: {
      hash: hashClientSecret(secret),
      prefix: secret.slice(0, SHOWN_BEGINNING),
      lastFour: secret.slice(-4),
    },
  };
}
