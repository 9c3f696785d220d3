/**
 * Client secrets: `lks_` and 256 random bits, so that scanners find one that leaked and nobody guesses one.
 *
 * Units   sizes in bytes.
 * Errors  none.
 * Source  RFC 6749 2.3.1 and 10.10.
 *
 * @module
 */
import { createHash, randomBytes } from 'node:crypto';
import type { NewClientSecret } from './lifecycle.js';

const PREFIX = 'lks_';
const RANDOM_BYTES = 32;
/** Characters of the beginning that are shown later, to find which secret it is. */
const SHOWN_BEGINNING = PREFIX.length + 4;

/** A secret has more random bits than SHA-256 has room to search, so it needs no slow hash. */
export function hashClientSecret(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}

/** A new secret, to be shown once, and what of it is kept. */
export function newClientSecret(): {
  readonly secret: string;
  readonly kept: Pick<NewClientSecret, 'hash' | 'prefix' | 'lastFour'>;
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
