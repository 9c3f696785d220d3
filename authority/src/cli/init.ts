/**
 * `latchkey init`: makes a data directory.
 *
 * Units   none.
 * Errors  `UsageError`, `FormatError`.
 * Source  DESIGN 5.
 *
 * @module
 */
import { EXIT, type ExitCode } from '@latchkey/shared';
import { parseOwnIssuer } from '../config.js';
import { dataDirPaths } from '../data-dir.js';
import { initDataDir } from '../init.js';
import { requireDataDir } from './data-dir-option.js';
import { type Io, printNote } from './io.js';

export interface InitOptions {
  readonly dataDir?: string;
  readonly issuer: string;
}

export async function init(options: InitOptions, io: Io): Promise<ExitCode> {
  const dataDir = requireDataDir(options.dataDir);
  const issuer = parseOwnIssuer(options.issuer, '--issuer');
  await initDataDir({ dataDir, issuer, clock: io.clock });
  printNote(io, `made ${dataDir} for ${issuer}`);
  printNote(io, `operator key: ${dataDirPaths(dataDir).operatorKey} (keep it secret)`);
  printNote(io, `next: latchkey serve --data-dir ${dataDir}`);
  return EXIT.ok;
}
