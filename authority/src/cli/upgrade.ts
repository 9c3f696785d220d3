/**
 * `latchkey upgrade`: brings a registry of an older program to this one's version.
 *
 * Every command that changes something does so by itself; this one does it before the service is started
 * anew, and says where the registry is kept as it was.
 *
 * Units   versions: number of migrations.
 * Errors  `ConfigError` for a registry of a newer program; what the disk refuses, then it is as it was.
 * Source  `registry/sqlite/database.ts`.
 *
 * @module
 */
import { EXIT, type ExitCode } from '@latchkey/shared';
import { dataDirPaths } from '../data-dir.js';
import { loadConfig } from '../open-authority.js';
import {
  copyBefore,
  fileVersion,
  KNOWN_VERSION,
  openDatabase,
} from '../registry/sqlite/database.js';
import { requireDataDir } from './data-dir-option.js';
import { type Io, printLine, printNote } from './io.js';

export interface UpgradeOptions {
  readonly dataDir?: string;
}

export async function upgrade(options: UpgradeOptions, io: Io): Promise<ExitCode> {
  const dataDir = requireDataDir(options.dataDir);
  loadConfig(dataDir);
  const { registry: path } = dataDirPaths(dataDir);
  const before = fileVersion(path);
  if (before < KNOWN_VERSION) printNote(io, 'keeping the registry as it is, then upgrading it');
  openDatabase({ path }).close();
  if (before === KNOWN_VERSION) {
    printLine(io, `${path} is up to date (version ${KNOWN_VERSION})`);
    return EXIT.ok;
  }
  printLine(io, `upgraded ${path} from version ${before} to ${KNOWN_VERSION}`);
  printNote(io, `as it was: ${copyBefore(path, before)}; delete it when you are content`);
  return EXIT.ok;
}
