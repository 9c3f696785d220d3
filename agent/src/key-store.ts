/**
 * The device's key: a file of mode 0600 that never leaves the device, or a key that ssh-agent holds.
 *
 * Of a key in ssh-agent the file holds the public half, which says which key it is.
 *
 * Units   none.
 * Errors  `UsageError` when the file is missing or open to others; `FormatError` when it holds no key.
 * Source  DESIGN 7 (signer is an interface); RFC 8410 (PKCS#8, SubjectPublicKeyInfo).
 *
 * @module
 */
import {
  createKeySigner,
  exportPrivatePem,
  formatPem,
  generateKey,
  importPrivatePem,
  type PrivateKey,
  type PublicKey,
  parsePublicKey,
  type Signer,
  UsageError,
} from '@latchkey/shared';
import { createPrivateFile, readPrivateFile, stateFile } from './private-file.js';
import { createSshAgentSigner } from './ssh-agent.js';

/** `publicKey` alone: ssh-agent holds the other half. */
export type StoredKey =
  | { readonly publicKey: PublicKey; readonly privateKey: PrivateKey }
  | { readonly publicKey: PublicKey; readonly privateKey?: undefined };

/** What is needed for keys that are not in a file. */
export interface KeyHolders {
  /** Path of the Unix socket of ssh-agent. */
  readonly sshAgentSocket?: string | undefined;
}

/** Which of the two key files: the one in use, or the one that is to follow it. */
export type KeyFile = 'key' | 'nextKey';

/** Reads a key file; `undefined` when there is none. */
export async function readKey(
  stateDir: string,
  file: KeyFile = 'key',
): Promise<StoredKey | undefined> {
  const path = stateFile(stateDir, file);
  const pem = await readPrivateFile(path);
  if (pem === undefined) return undefined;
  if (pem.startsWith('-----BEGIN PUBLIC KEY')) return { publicKey: parsePublicKey(pem, path) };
  const privateKey = importPrivatePem(pem, path);
  return { publicKey: privateKey.publicKey, privateKey };
}

/** A file for the key, on disk before it returns; `false` when there is one already. */
export function writeNewKey(
  stateDir: string,
  key: StoredKey,
  file: KeyFile = 'key',
): Promise<boolean> {
  const { publicKey, privateKey } = key;
  const pem = privateKey === undefined ? formatPem(publicKey) : exportPrivatePem(privateKey);
  return createPrivateFile(stateFile(stateDir, file), pem);
}

/** A key that was just made here. */
export function newStoredKey(): StoredKey {
  const privateKey = generateKey();
  return { publicKey: privateKey.publicKey, privateKey };
}

/** What follows a key in a rotation that nobody gave a key for: one of the same kind. */
export async function makeKeyAfter(stateDir: string): Promise<StoredKey> {
  const key = await readKey(stateDir);
  if (key === undefined || key.privateKey !== undefined) return newStoredKey();
  throw new UsageError(
    'the key is in ssh-agent: add a new one there, and run: latchkey-agent key rotate --ssh-agent KEY',
  );
}

export function signerOf({ publicKey, privateKey }: StoredKey, holders: KeyHolders): Signer {
  if (privateKey !== undefined) return createKeySigner(privateKey);
  const { sshAgentSocket: socketPath } = holders;
  if (socketPath === undefined) {
    throw new UsageError(
      'the key is in ssh-agent: set SSH_AUTH_SOCK, or key.ssh_agent_socket of the config file',
    );
  }
  return createSshAgentSigner(publicKey, { socketPath });
}

/** Signs with the key of the state folder. */
export async function openKey(stateDir: string, holders: KeyHolders = {}): Promise<Signer> {
  const key = await readKey(stateDir);
  if (key === undefined) {
    throw new UsageError(
      `${stateFile(stateDir, 'key')} is missing; run: latchkey-agent enroll, or key create`,
    );
  }
  return signerOf(key, holders);
}

/** Makes the key unless there is one. On disk before it returns, so nothing is sent without it. */
export async function openOrMakeKey(stateDir: string, holders: KeyHolders = {}): Promise<Signer> {
  if ((await readKey(stateDir)) === undefined) await writeNewKey(stateDir, newStoredKey());
  return openKey(stateDir, holders);
}
