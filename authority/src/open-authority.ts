/**
 * Opens a data directory as a running authority would: settings, registry, keys, and all checked.
 *
 * Units   none.
 * Errors  `ConfigError`.
 * Source  DESIGN 5.
 *
 * @module
 */
import { existsSync } from 'node:fs';
import { type Clock, ConfigError, type Logger, silentLogger, UsageError } from '@latchkey/shared';
import { type Authority, createAuthority } from './authority.js';
import { type Config, parseConfig } from './config.js';
import { dataDirPaths } from './data-dir.js';
import { loadTls } from './http/tls.js';
import { managementResource } from './management.js';
import { readSmallFile } from './private-file.js';
import type { Registry } from './registry/registry.js';
import { openSqliteRegistry } from './registry/sqlite/sqlite-registry.js';
import { readKeyEncryptionKey } from './signing/key-encryption-key.js';
import { createKeyFiles, type KeyFiles } from './signing/key-files.js';
import { createSigningKeys, type SigningKeys } from './signing-keys.js';

/** Reads `authority.toml`. */
export function loadConfig(dataDir: string): Config {
  const { config } = dataDirPaths(dataDir);
  if (!existsSync(config)) {
    throw new UsageError(
      `--data-dir: ${dataDir} is not the data directory of an authority; make one with: latchkey init`,
    );
  }
  return parseConfig(readSmallFile(config), config);
}

/** A data directory whose parts fit together. */
export interface OpenDataDir {
  readonly registry: Registry;
  readonly signingKeys: SigningKeys;
  readonly keyFiles: KeyFiles;
}

/** Opens registry and keys. `isReadOnly` only looks, as `validate` does beside a running authority. */
export async function openDataDir(options: {
  readonly dataDir: string;
  readonly config: Config;
  readonly clock: Clock;
  readonly isReadOnly?: boolean;
  /** Whether requests will be served from it. Default false. */
  readonly isServing?: boolean;
  /** `$CREDENTIALS_DIRECTORY`, in which systemd may have put the key encryption key. */
  readonly credentialsDirectory?: string | undefined;
  readonly logger?: Logger;
}): Promise<OpenDataDir> {
  const { dataDir, config, clock, isReadOnly = false, logger = silentLogger } = options;
  const paths = dataDirPaths(dataDir);
  const servesWith = options.isServing === true ? { logger } : undefined;
  const registry = openSqliteRegistry({ path: paths.registry, clock, isReadOnly, servesWith });
  try {
    if ((await registry.resource(managementResource(config.issuer))) === undefined) {
      throw new ConfigError(paths.config, [
        { path: 'issuer', message: 'is not the one that this data directory was made for' },
      ]);
    }
    const keyEncryptionKey = readKeyEncryptionKey({
      file: config.keyEncryptionKeyFile,
      credentialsDirectory: options.credentialsDirectory,
    });
    const keyFiles = createKeyFiles({ paths, keyEncryptionKey });
    const signingKeys = createSigningKeys({ registry, holder: keyFiles, clock, logger });
    await signingKeys.check();
    if (!isReadOnly) await signingKeys.complete();
    return { registry, signingKeys, keyFiles };
  } catch (error) {
    await registry.close();
    throw error;
  }
}

/** Who reads a backup of this directory can sign tokens. */
function warnOfPlainKeys(keyFiles: KeyFiles, logger: Logger): void {
  const plain = keyFiles.list().filter(({ isEncrypted }) => !isEncrypted);
  if (plain.length === 0) return;
  logger.warn(
    { event: 'signing-key.not-encrypted', kids: plain.map(({ kid }) => kid) },
    'private signing keys are not encrypted: set key_encryption_key_file, then run: latchkey signing-key encrypt',
  );
}

/** Opens a data directory and wires the authority; it does not listen yet. */
export async function openAuthority(options: {
  readonly dataDir: string;
  readonly config: Config;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly credentialsDirectory?: string | undefined;
}): Promise<Authority> {
  const { config, clock, logger } = options;
  const { issuer, limits, trustedProxies, auditRetentionDays, signingKeyRotationDays } = config;
  const tls = config.tls && loadTls(config.tls).credentials;
  const parts = await openDataDir({ ...options, isServing: true });
  warnOfPlainKeys(parts.keyFiles, logger);
  const settings = {
    ...{ issuer, limits, trustedProxies, auditRetentionDays, signingKeyRotationDays, tls },
  };
  return createAuthority(settings, { ...parts, clock, logger });
}
