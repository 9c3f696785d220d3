/**
 * `latchkey validate`: checks a data directory without starting and without changing anything.
 *
 * Units   none.
 * Errors  `ConfigError` with all problems.
 * Source  STYLE 2.6.
 *
 * @module
 */

import { existsSync } from 'node:fs';
import { ConfigError, type ConfigProblem, EXIT, type ExitCode } from '@latchkey/shared';
import type { Config } from '../config.js';
import { dataDirPaths } from '../data-dir.js';
import { loadConfig, openDataDir } from '../open-authority.js';
import { readOperatorKey } from '../operator-key.js';
import { requireDataDir } from './data-dir-option.js';
import { type Io, printLine } from './io.js';

export interface ValidateOptions {
  readonly dataDir?: string;
}

/** Problems of one part; none when the part is good. */
async function problemsOf(check: () => unknown): Promise<readonly ConfigProblem[]> {
  try {
    await check();
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return [{ path: '', message: error.message }];
  }
}

async function checkParts(dataDir: string, config: Config, io: Io): Promise<void> {
  const { registry } = await openDataDir({ dataDir, config, clock: io.clock, isReadOnly: true });
  await registry.close();
}

export async function validate(options: ValidateOptions, io: Io): Promise<ExitCode> {
  const dataDir = requireDataDir(options.dataDir);
  const { operatorKey } = dataDirPaths(dataDir);
  let config: Config | undefined;
  const problems = [
    ...(await problemsOf(() => {
      config = loadConfig(dataDir);
    })),
    ...(await problemsOf(() => config && checkParts(dataDir, config, io))),
    // The operator may keep the key elsewhere.
    ...(await problemsOf(() => existsSync(operatorKey) && readOperatorKey(operatorKey))),
  ];
  if (problems.length > 0) throw new ConfigError(dataDir, problems);
  printLine(io, `${dataDir} is valid`);
  return EXIT.ok;
}
