/**
 * Fills a directory that is new or empty, or leaves it as it was.
 *
 * Units   none.
 * Errors  `UsageError` when the directory is in use; nothing in it is changed then.
 * Source  DESIGN 5.
 *
 * @module
 */
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { UsageError } from '@latchkey/shared';
import { type DataDirPaths, dataDirPaths } from './data-dir.js';

function refuseUsedDirectory(dataDir: string): void {
  if (!existsSync(dataDir) || readdirSync(dataDir).length === 0) return;
  const reason = existsSync(dataDirPaths(dataDir).config)
    ? 'is the data directory of an authority already'
    : 'is not empty; what was broken off leaves such a directory: remove it, or choose another';
  throw new UsageError(`--data-dir: ${dataDir} ${reason}`);
}

/** `fill` makes everything in the directory, of mode 0700; when it throws, all of it goes again. */
export async function fillNewDataDir(
  dataDir: string,
  fill: (paths: DataDirPaths) => Promise<void>,
): Promise<void> {
  refuseUsedDirectory(dataDir);
  const isNew = !existsSync(dataDir);
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  try {
    chmodSync(dataDir, 0o700);
    await fill(dataDirPaths(dataDir));
  } catch (error) {
    for (const name of readdirSync(dataDir)) rmSync(join(dataDir, name), { recursive: true });
    if (isNew) rmSync(resolve(dataDir), { recursive: true, force: true });
    throw error;
  }
}
