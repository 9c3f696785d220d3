/**
 * `latchkey validate`: checks a data directory without starting and without changing anything.
 *
 * Units   none.
 * Errors  none for what is wrong with the parts: each is told, then the exit code is 2.
 * Source  STYLE 2.6.
 *
 * @module
 */

import { existsSync } from 'node:fs';
import { ConfigError, EXIT, type ExitCode, FormatError } from '@latchkey/shared';
import { type Config, checkExposure } from '../config.js';
import { dataDirPaths } from '../data-dir.js';
import { loadTls } from '../http/tls.js';
import { loadConfig, openDataDir } from '../open-authority.js';
import { readOperatorKey } from '../operator-key.js';
import { requireDataDir } from './data-dir-option.js';
import { type Io, printLine, printNote } from './io.js';

export interface ValidateOptions {
  readonly dataDir?: string;
}

/** Tells what is wrong with one part; true when it is good. */
async function isGood(io: Io, check: () => unknown): Promise<boolean> {
  try {
    await check();
    return true;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    printNote(io, `error: ${error.message}`);
    return false;
  }
}

async function checkParts(dataDir: string, config: Config, io: Io): Promise<void> {
  const { clock, credentialsDirectory } = io;
  const options = { dataDir, config, clock, credentialsDirectory };
  const { registry, signingKeys, keyFiles } = await openDataDir({ ...options, isReadOnly: true });
  const keys = await signingKeys.list();
  await registry.close();
  const inUse = new Set(keys.filter(({ status }) => status !== 'retired').map(({ kid }) => kid));
  // A crash between a key and its row leaves such files.
  const unused = keyFiles.list().filter(({ kid }) => !inUse.has(kid));
  for (const path of [...unused.map((file) => file.path), ...keyFiles.strays()]) {
    printNote(io, `note: ${path} is of no key in use and can be deleted`);
  }
}

function checkNetwork(dataDir: string, { listen, tls }: Config): void {
  if (tls !== undefined) loadTls(tls);
  try {
    checkExposure(listen, { tls });
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    const { field: path, problem: message } = error;
    throw new ConfigError(dataDirPaths(dataDir).config, [{ path, message }]);
  }
}

export async function validate(options: ValidateOptions, io: Io): Promise<ExitCode> {
  const dataDir = requireDataDir(options.dataDir);
  const { operatorKey } = dataDirPaths(dataDir);
  let config: Config | undefined;
  const results = [
    await isGood(io, () => {
      config = loadConfig(dataDir);
    }),
    await isGood(io, () => config && checkParts(dataDir, config, io)),
    await isGood(io, () => config && checkNetwork(dataDir, config)),
    // The operator may keep the key elsewhere.
    await isGood(io, () => existsSync(operatorKey) && readOperatorKey(operatorKey)),
  ];
  if (!results.every(Boolean)) return EXIT.usage;
  printLine(io, `${dataDir} is valid`);
  return EXIT.ok;
}
