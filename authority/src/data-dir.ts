/**
 * The data directory: what lies where.
 *
 *     authority.toml            settings
 *     registry.sqlite           registry, mode 0600 (and -wal, -shm beside it)
 *     signing-keys/<kid>.json   private keys that sign tokens, encrypted, mode 0600;
 *                               <kid>.pem when no key encryption key is set up
 *     operator-key.json         key of the operator's client, mode 0600; may be moved elsewhere
 *
 * Units   none.
 * Errors  none.
 * Source  README "Data directory".
 *
 * @module
 */
import { join } from 'node:path';
import type { Kid } from '@latchkey/shared';

export interface DataDirPaths {
  readonly config: string;
  readonly registry: string;
  readonly signingKeys: string;
  readonly operatorKey: string;
  signingKey(kid: Kid): string;
  encryptedSigningKey(kid: Kid): string;
}

export function dataDirPaths(dataDir: string): DataDirPaths {
  const signingKeys = join(dataDir, 'signing-keys');
  return {
    config: join(dataDir, 'authority.toml'),
    registry: join(dataDir, 'registry.sqlite'),
    signingKeys,
    operatorKey: join(dataDir, 'operator-key.json'),
    signingKey: (kid) => join(signingKeys, `${kid}.pem`),
    encryptedSigningKey: (kid) => join(signingKeys, `${kid}.json`),
  };
}
