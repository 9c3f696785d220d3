/**
 * The broker's own private key, read from its file.
 *
 * Units   POSIX modes in octal.
 * Errors  `ConfigError` for a file that is missing or open to others; `FormatError` when it holds no key.
 * Source  STYLE 2.6; RFC 8410 (PKCS#8).
 *
 * @module
 */
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { ConfigError, createKeySigner, importPrivatePem, type Signer } from '@latchkey/shared';
import { isPrivateMode } from '../private-mode.js';

const MAX_BYTES = 65_536;

/** Signs with the Ed25519 key in a PEM file that only its owner can read. */
export function openKeyFile(path: string): Signer {
  const problem = (message: string) => new ConfigError(path, [{ path: '', message }]);
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    throw problem(`cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
  try {
    const { mode, size } = fstatSync(fd);
    if (!isPrivateMode(path, mode)) throw problem(`can be read by others; run: chmod 600 ${path}`);
    if (size > MAX_BYTES) throw problem('is too large for a key');
    return createKeySigner(importPrivatePem(readFileSync(fd, 'utf8'), path));
  } finally {
    closeSync(fd);
  }
}
