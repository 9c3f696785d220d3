/**
 * Makes a data directory from a backup.
 *
 * The trust feed begins another history, so that no broker goes on from changes that the backup does
 * not know. `authority.toml` is written last, so a directory that has it is complete.
 *
 * Units   none.
 * Errors  `UsageError` when the directory is in use; `ConfigError` for a backup that is none, damaged
 *         or of a newer program. Nothing is left behind then.
 * Source  DESIGN 4 (Trust feed), 5.
 *
 * @module
 */
import { chmodSync, constants, copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Clock, ConfigError, formatInstant } from '@latchkey/shared';
import { ownEvent } from '../audit/audit.js';
import { findChainFault } from '../audit/registry-chain.js';
import { fillNewDataDir } from '../new-data-dir.js';
import { writePrivateFile } from '../private-file.js';
import { openSqliteRegistry } from '../registry/sqlite/sqlite-registry.js';
import { type Backup, type BackupInfo, readBackup, reduceToRegistry } from './backup-file.js';

async function restoreRegistry(
  path: string,
  options: { readonly file: string; readonly backup: Backup; readonly clock: Clock },
): Promise<void> {
  const { file, backup, clock } = options;
  reduceToRegistry(path);
  const registry = openSqliteRegistry({ path, clock });
  try {
    const fault = await findChainFault(registry);
    if (fault !== undefined) {
      const message = `is damaged: audit event ${fault.sequence} ${fault.problem}`;
      throw new ConfigError(file, [{ path: '', message }]);
    }
    const madeAt = formatInstant(backup.info.madeAt);
    const draft = { describe: () => ownEvent('restore', `backup of ${madeAt}`) };
    await registry.withEvent(draft, () => registry.renewFeed());
  } finally {
    await registry.close();
  }
}

export async function restoreBackup(options: {
  readonly file: string;
  /** May exist when it is empty. */
  readonly dataDir: string;
  readonly clock: Clock;
}): Promise<BackupInfo> {
  const { file, dataDir, clock } = options;
  const backup = readBackup(file);
  await fillNewDataDir(dataDir, async (paths) => {
    copyFileSync(file, paths.registry, constants.COPYFILE_EXCL);
    chmodSync(paths.registry, 0o600);
    await restoreRegistry(paths.registry, { file, backup, clock });
    mkdirSync(paths.signingKeys, { mode: 0o700 });
    const config = backup.files.filter(({ path }) => path === 'authority.toml');
    const others = backup.files.filter(({ path }) => path !== 'authority.toml');
    for (const { path, content } of [...others, ...config]) {
      writePrivateFile(join(dataDir, path), content);
    }
  });
  return backup.info;
}
