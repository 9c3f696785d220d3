/**
 * A private key encrypted at rest: AES-256-GCM under a key that lies elsewhere.
 *
 * `kid` and `alg` are authenticated, so that one file cannot pass for another.
 *
 * Units   sizes in bytes.
 * Errors  `ConfigError` naming the file; nothing of its content is echoed.
 * Source  NIST SP 800-38D (96-bit nonces at random: sound far beyond a few keys per encryption key).
 *
 * @module
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import {
  ConfigError,
  type Kid,
  parsedBy,
  parseKid,
  parseWith,
  TOKEN_ALGORITHMS,
  type TokenAlgorithm,
} from '@latchkey/shared';
import * as v from 'valibot';

const CIPHER = 'aes-256-gcm';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Whose private key it is. */
export interface KeyName {
  readonly kid: Kid;
  readonly alg: TokenAlgorithm;
}

function bytesField(length?: number): v.GenericSchema<unknown, Buffer> {
  return v.pipe(
    v.string(),
    v.transform((text) => Buffer.from(text, 'base64url')),
    v.check((bytes) => length === undefined || bytes.length === length, 'has a wrong length'),
  );
}

const schema = v.strictObject({
  version: v.literal(1),
  kid: v.pipe(v.string(), parsedBy(parseKid)),
  alg: v.picklist(TOKEN_ALGORITHMS),
  enc: v.literal('A256GCM'),
  nonce: bytesField(NONCE_BYTES),
  ciphertext: bytesField(),
  tag: bytesField(TAG_BYTES),
});

function additionalData({ kid, alg }: KeyName): Buffer {
  return Buffer.from(`latchkey signing key, version 1, ${alg}, ${kid}`);
}

/** The file that holds the key, given its PEM and the 32-byte key to encrypt it under. */
export function sealKey(name: KeyName, pem: string, keyEncryptionKey: Uint8Array): string {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, keyEncryptionKey, nonce).setAAD(additionalData(name));
  const ciphertext = Buffer.concat([cipher.update(pem), cipher.final()]);
  const file = {
    version: 1,
    kid: name.kid,
    alg: name.alg,
    enc: 'A256GCM',
    nonce: nonce.toString('base64url'),
    ciphertext: ciphertext.toString('base64url'),
    tag: cipher.getAuthTag().toString('base64url'),
  };
  return `${JSON.stringify(file, undefined, 2)}\n`;
}

/** The PEM in a file that `sealKey` made; `path` is for messages. */
export function unsealKey(
  name: KeyName,
  text: string,
  keyEncryptionKey: Uint8Array,
  path: string,
): string {
  const problem = (message: string) => new ConfigError(path, [{ path: '', message }]);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw problem('is not JSON');
  }
  const file = parseWith(schema, value, path);
  if (file.kid !== name.kid || file.alg !== name.alg) {
    throw problem('holds another key than its name says');
  }
  const options = { authTagLength: TAG_BYTES };
  const decipher = createDecipheriv(CIPHER, keyEncryptionKey, file.nonce, options)
    .setAAD(additionalData(name))
    .setAuthTag(file.tag);
  try {
    return Buffer.concat([decipher.update(file.ciphertext), decipher.final()]).toString();
  } catch {
    throw problem(
      'cannot be decrypted: the key encryption key is another one, or the file is damaged',
    );
  }
}
