/**
 * The key under which private keys are encrypted at rest, from a file or from systemd.
 *
 * Units   32 bytes: raw, or as 64 hex digits or base64 text.
 * Errors  `ConfigError`.
 * Source  systemd.exec(5), LoadCredential= and $CREDENTIALS_DIRECTORY.
 *
 * @module
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError } from '@latchkey/shared';
import { readPrivateBytes } from '../private-file.js';

const KEY_BYTES = 32;
/** Name of the credential in the unit file. */
const CREDENTIAL = 'latchkey-key-encryption-key';

export interface KeyEncryptionKeySource {
  /** `key_encryption_key_file` of `authority.toml`. */
  readonly file: string | undefined;
  /** `$CREDENTIALS_DIRECTORY`, which systemd sets. */
  readonly credentialsDirectory: string | undefined;
}

function decodeKey(bytes: Buffer): Buffer | undefined {
  if (bytes.length === KEY_BYTES) return bytes;
  const text = bytes.toString('latin1').trim();
  if (/^[0-9a-f]{64}$/i.test(text)) return Buffer.from(text, 'hex');
  return /^[A-Za-z0-9+/_-]{43}=?$/.test(text) ? Buffer.from(text, 'base64') : undefined;
}

/** The key, or `undefined` when none is set up. The file of the settings wins. */
export function readKeyEncryptionKey(source: KeyEncryptionKeySource): Buffer | undefined {
  const { file, credentialsDirectory: directory } = source;
  const credential = directory === undefined ? undefined : join(directory, CREDENTIAL);
  const path =
    file ?? (credential !== undefined && existsSync(credential) ? credential : undefined);
  if (path === undefined) return undefined;
  const key = decodeKey(readPrivateBytes(path));
  if (key?.length !== KEY_BYTES) {
    const message =
      'must hold 32 random bytes, raw or as hex or base64; make it with: openssl rand -hex 32';
    throw new ConfigError(path, [{ path: '', message }]);
  }
  return key;
}
