/**
 * Private signing keys in files of the data directory: encrypted, or as PEM when there is nothing to
 * encrypt them with.
 *
 * Units   none.
 * Errors  `ConfigError` for a file that is missing, open to others, damaged or of another key.
 * Source  RFC 5958 (PKCS#8), `signing/key-envelope.ts`.
 *
 * @module
 */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  ConfigError,
  createIssuerSigner,
  FormatError,
  generateIssuerKey,
  type IssuerPrivateKey,
  importIssuerPem,
  type Kid,
  parseKid,
  type TokenAlgorithm,
} from '@latchkey/shared';
import type { DataDirPaths } from '../data-dir.js';
import { readPrivateFile, syncDirectory, writePrivateFile } from '../private-file.js';
import { sealKey, unsealKey } from './key-envelope.js';
import type { KeyHolder } from './key-holder.js';

export interface KeyFile {
  readonly kid: Kid;
  readonly path: string;
  readonly isEncrypted: boolean;
}

export interface KeyFiles extends KeyHolder {
  /** Whether there is a key encryption key. */
  readonly canEncrypt: boolean;
  /** Every file that is named as a key. */
  list(): readonly KeyFile[];
  /** Paths of all other files, such as one that a crash left half written. */
  strays(): readonly string[];
  /** Encrypts the key's file, if it is not yet. The plain one goes once the other is durable. */
  encrypt(kid: Kid, alg: TokenAlgorithm): void;
}

export type KeyFilePaths = Pick<DataDirPaths, 'signingKeys' | 'signingKey' | 'encryptedSigningKey'>;

const KEY_FILE = /^([A-Za-z0-9_-]{43})\.(pem|json)$/;

function exportPem({ keyObject }: IssuerPrivateKey): string {
  return keyObject.export({ type: 'pkcs8', format: 'pem' }).toString();
}

export function createKeyFiles(deps: {
  readonly paths: KeyFilePaths;
  /** 32 bytes; without it new keys are written as PEM. */
  readonly keyEncryptionKey: Uint8Array | undefined;
}): KeyFiles {
  const { paths, keyEncryptionKey } = deps;

  const readPem = (kid: Kid, alg: TokenAlgorithm): { path: string; pem: string } => {
    const sealed = paths.encryptedSigningKey(kid);
    if (!existsSync(sealed)) {
      const path = paths.signingKey(kid);
      return { path, pem: readPrivateFile(path) };
    }
    const text = readPrivateFile(sealed);
    if (keyEncryptionKey === undefined) {
      const message =
        'is encrypted: set key_encryption_key_file in authority.toml, or the systemd credential';
      throw new ConfigError(sealed, [{ path: '', message }]);
    }
    return { path: sealed, pem: unsealKey({ kid, alg }, text, keyEncryptionKey, sealed) };
  };

  const read = (kid: Kid, alg: TokenAlgorithm): IssuerPrivateKey => {
    const { path, pem } = readPem(kid, alg);
    const problem = (message: string) => new ConfigError(path, [{ path: '', message }]);
    let key: IssuerPrivateKey;
    try {
      key = importIssuerPem(alg, pem);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      throw problem(error.problem);
    }
    if (key.publicKey.kid !== kid) throw problem('holds another key than its name says');
    return key;
  };

  const write = (key: IssuerPrivateKey): void => {
    const { kid } = key.publicKey;
    const pem = exportPem(key);
    if (keyEncryptionKey === undefined) writePrivateFile(paths.signingKey(kid), pem);
    else
      writePrivateFile(
        paths.encryptedSigningKey(kid),
        sealKey(key.publicKey, pem, keyEncryptionKey),
      );
  };

  const remove = (path: string): void => {
    if (!existsSync(path)) return;
    rmSync(path);
    syncDirectory(dirname(path));
  };

  return {
    create: async (alg) => {
      const key = await generateIssuerKey(alg);
      write(key);
      return createIssuerSigner(key);
    },
    open: async (kid, alg) => createIssuerSigner(read(kid, alg)),
    discard: async (kid) => {
      remove(paths.signingKey(kid));
      remove(paths.encryptedSigningKey(kid));
    },
    canEncrypt: keyEncryptionKey !== undefined,
    list: () =>
      readdirSync(paths.signingKeys).flatMap((name): KeyFile[] => {
        const [, stem, extension] = KEY_FILE.exec(name) ?? [];
        if (stem === undefined) return [];
        const path = join(paths.signingKeys, name);
        return [{ kid: parseKid(stem), path, isEncrypted: extension === 'json' }];
      }),
    strays: () =>
      readdirSync(paths.signingKeys)
        .filter((name) => !KEY_FILE.test(name))
        .map((name) => join(paths.signingKeys, name)),
    encrypt: (kid, alg) => {
      const key = read(kid, alg);
      if (!existsSync(paths.encryptedSigningKey(kid))) write(key);
      read(kid, alg);
      remove(paths.signingKey(kid));
    },
  };
}
