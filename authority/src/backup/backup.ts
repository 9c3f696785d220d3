/**
 * Makes a backup of a data directory, also beside a running authority: one file that holds all of it,
 * checked before it gets its name.
 *
 * The key encryption key is not in it, as it is not in the data directory.
 *
 * Units   none.
 * Errors  `UsageError` when the file exists; `ConfigError`; what the disk refuses.
 * Source  DESIGN 5.
 *
 * @module
 */
import { randomBytes } from 'node:crypto';
import { existsSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, relative } from 'node:path';
import { type Clock, ConfigError, UsageError } from '@latchkey/shared';
import { findChainFault } from '../audit/registry-chain.js';
import { type DataDirPaths, dataDirPaths } from '../data-dir.js';
import { loadConfig } from '../open-authority.js';
import { readPrivateFile, readSmallFile, syncDirectory } from '../private-file.js';
import { copyDatabase } from '../registry/sqlite/copy.js';
import { openDatabase } from '../registry/sqlite/database.js';
import { openSqliteRegistry } from '../registry/sqlite/sqlite-registry.js';
import { createKeyFiles } from '../signing/key-files.js';
import { packageVersion } from '../version.js';
import { type BackupFile, completeBackup, readBackup } from './backup-file.js';

export interface MadeBackup {
  readonly bytes: number;
  /** Of the newest audit event in it. */
  readonly lastSequence: number;
  /** Whether a private signing key in it is not encrypted. */
  readonly hasPlainKeys: boolean;
}

/** Keys are rotated meanwhile at most once. */
const TRIES = 3;

function copyRegistry(path: string, copy: string): void {
  const db = openDatabase({ path, isReadOnly: true });
  try {
    copyDatabase(db, copy);
  } finally {
    db.close();
  }
}

/** Newest audit event of the copy, and the keys that it needs; its chain must be whole. */
async function inspect(copy: string, clock: Clock) {
  const registry = openSqliteRegistry({ path: copy, clock, isReadOnly: true });
  try {
    const fault = await findChainFault(registry);
    if (fault !== undefined) {
      const message = `audit event ${fault.sequence}: ${fault.problem}; see: latchkey audit verify`;
      throw new ConfigError(copy, [{ path: 'audit_event', message }]);
    }
    const keys = await registry.signingKeys();
    const { lastSequence } = await registry.auditState();
    const needed = keys.filter(({ status }) => status !== 'retired').map(({ kid }) => kid);
    return { lastSequence, needed };
  } finally {
    await registry.close();
  }
}

function readFiles(dataDir: string, paths: DataDirPaths) {
  const keyFiles = createKeyFiles({ paths, keyEncryptionKey: undefined }).list();
  const read = (path: string): BackupFile => ({
    path: relative(dataDir, path),
    content: path === paths.config ? readSmallFile(path) : readPrivateFile(path),
  });
  const others = [paths.config, paths.operatorKey].filter((path) => existsSync(path));
  return { keyFiles, files: [...others, ...keyFiles.map(({ path }) => path)].map(read) };
}

async function makeOnce(
  dataDir: string,
  file: string,
  clock: Clock,
): Promise<MadeBackup | undefined> {
  const paths = dataDirPaths(dataDir);
  const { issuer } = loadConfig(dataDir);
  const partial = `${file}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    const info = { issuer, madeAt: clock.now(), program: packageVersion() };
    copyRegistry(paths.registry, partial);
    const { lastSequence, needed } = await inspect(partial, clock);
    // Keys are written before the registry names them, and removed after it has forgotten them.
    const { keyFiles, files } = readFiles(dataDir, paths);
    if (!needed.every((kid) => keyFiles.some((key) => key.kid === kid))) return undefined;
    completeBackup(partial, { info, files });
    readBackup(partial);
    const { size: bytes } = statSync(partial);
    renameSync(partial, file);
    syncDirectory(dirname(file));
    return { bytes, lastSequence, hasPlainKeys: keyFiles.some(({ isEncrypted }) => !isEncrypted) };
  } finally {
    for (const suffix of ['', '-wal', '-shm', '-journal'])
      rmSync(`${partial}${suffix}`, { force: true });
  }
}

export async function makeBackup(options: {
  readonly dataDir: string;
  readonly file: string;
  readonly clock: Clock;
}): Promise<MadeBackup> {
  const { dataDir, file, clock } = options;
  if (existsSync(file)) throw new UsageError(`${file} exists already; choose another name`);
  for (let tries = 0; tries < TRIES; tries += 1) {
    const made = await makeOnce(dataDir, file, clock);
    if (made !== undefined) return made;
  }
  const { signingKeys } = dataDirPaths(dataDir);
  const message = 'lacks the file of a key that is in use; see: latchkey validate';
  throw new ConfigError(signingKeys, [{ path: '', message }]);
}
