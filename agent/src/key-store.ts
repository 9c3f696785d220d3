/**
 * The device's key: made on the device, kept in a file of mode 0600, never sent anywhere.
 *
 * Units   none.
 * Errors  `UsageError` when the file is missing or open to others; `FormatError` when it holds no key.
 * Source  DESIGN 7 (signer is an interface; a key file today); RFC 8410 (PKCS#8).
 *
 * @module
 */
import {
  createKeySigner,
  exportPrivatePem,
  generateKey,
  importPrivatePem,
  type Signer,
  UsageError,
} from '@latchkey/shared';
import { createPrivateFile, readPrivateFile, stateFile } from './private-file.js';

/** Signs with the key in the state folder. */
export async function openKey(stateDir: string): Promise<Signer> {
  const path = stateFile(stateDir, 'key');
  const pem = await readPrivateFile(path);
  if (pem === undefined) throw new UsageError(`${path} is missing; run: latchkey-agent enroll`);
  return createKeySigner(importPrivatePem(pem, path));
}

/** Makes the key unless there is one. On disk before it returns, so nothing is sent without it. */
export async function openOrMakeKey(stateDir: string): Promise<Signer> {
  const path = stateFile(stateDir, 'key');
  if ((await readPrivateFile(path)) === undefined) {
    await createPrivateFile(path, exportPrivatePem(generateKey()));
  }
  return openKey(stateDir);
}
