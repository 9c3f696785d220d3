/**
 * Makes a new data directory: settings, registry, signing key and the operator's client.
 *
 * `authority.toml` is written last, so a directory that has it is complete.
 *
 * Units   none.
 * Errors  `UsageError` when the directory is in use; nothing in it is changed then.
 * Source  DESIGN 5.
 *
 * @module
 */
import { mkdirSync } from 'node:fs';
import {
  type Clock,
  generateKey,
  type Issuer,
  parseClientId,
  parsePermissionName,
  parseRoleName,
  silentLogger,
  TOKEN_DEFAULT_LIFETIME_SECONDS,
} from '@latchkey/shared';
import { ownEvent } from './audit/audit.js';
import { formatConfig } from './config.js';
import { FINER_SCOPES, MANAGEMENT_SCOPE, managementResource } from './management.js';
import { fillNewDataDir } from './new-data-dir.js';
import { OPERATOR, writeOperatorKey } from './operator-key.js';
import { writePrivateFile } from './private-file.js';
import type { Registry } from './registry/registry.js';
import { openSqliteRegistry } from './registry/sqlite/sqlite-registry.js';
import { createKeyFiles } from './signing/key-files.js';
import { createSigningKeys } from './signing-keys.js';

export interface InitOptions {
  /** May exist when it is empty. */
  readonly dataDir: string;
  readonly issuer: Issuer;
  readonly clock: Clock;
}

async function createOperator(registry: Registry, issuer: Issuer, path: string): Promise<void> {
  const resource = managementResource(issuer);
  const permission = parsePermissionName(MANAGEMENT_SCOPE);
  const role = parseRoleName(OPERATOR);
  const key = generateKey();
  const clientId = parseClientId(OPERATOR);
  await registry.createResource({
    identifier: resource,
    kind: 'http',
    tokenTtlSeconds: TOKEN_DEFAULT_LIFETIME_SECONDS,
  });
  await registry.createPermission({ name: permission, resource, scopes: [] });
  for (const scope of FINER_SCOPES) {
    await registry.createPermission({ name: parsePermissionName(scope), resource, scopes: [] });
  }
  await registry.createRole({ name: role, permissions: [permission] });
  await registry.createClient({
    id: clientId,
    kind: 'service',
    roles: [role],
    labels: new Map(),
    key: key.publicKey,
  });
  writeOperatorKey(path, { issuer, clientId, key });
}

/** Creates the directory and everything in it, or nothing. */
export function initDataDir({ dataDir, issuer, clock }: InitOptions): Promise<void> {
  return fillNewDataDir(dataDir, async (paths) => {
    mkdirSync(paths.signingKeys, { mode: 0o700 });
    // SQLite would make it with the modes of the umask; its -wal and -shm take over this one.
    writePrivateFile(paths.registry, '');
    const registry = openSqliteRegistry({ path: paths.registry, clock });
    try {
      const holder = createKeyFiles({ paths, keyEncryptionKey: undefined });
      await createSigningKeys({ registry, holder, clock, logger: silentLogger }).complete();
      await createOperator(registry, issuer, paths.operatorKey);
      await registry.recordEvent(ownEvent('init', issuer));
    } finally {
      await registry.close();
    }
    writePrivateFile(paths.config, formatConfig(issuer));
  });
}
