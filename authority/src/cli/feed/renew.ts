/**
 * `latchkey feed renew`: begins another history of the trust feed, after the registry came back from a
 * backup.
 *
 * Brokers may know changes that the backup does not, under sequences that it will use again. With the
 * new history each of them takes a fresh snapshot instead of going on from there. It works on the files
 * of this machine, also beside a running authority.
 *
 * Units   none.
 * Errors  `ConfigError`; those of `confirm`.
 * Source  DESIGN 4 (Trust feed).
 *
 * @module
 */
import { EXIT, type ExitCode } from '@latchkey/shared';
import { ownEvent } from '../../audit/audit.js';
import { dataDirPaths } from '../../data-dir.js';
import { loadConfig } from '../../open-authority.js';
import { openSqliteRegistry } from '../../registry/sqlite/sqlite-registry.js';
import { type ConfirmOptions, confirm } from '../confirm.js';
import { requireDataDir } from '../data-dir-option.js';
import { type Io, printNote } from '../io.js';

export interface RenewFeedOptions extends ConfirmOptions {
  readonly dataDir?: string;
}

export async function renewFeed(options: RenewFeedOptions, io: Io): Promise<ExitCode> {
  const dataDir = requireDataDir(options.dataDir);
  loadConfig(dataDir);
  await confirm('make every broker take the whole feed anew', options, io);
  const { registry: path } = dataDirPaths(dataDir);
  const registry = openSqliteRegistry({ path, clock: io.clock });
  try {
    const draft = { describe: () => ownEvent('renew', 'feed') };
    await registry.withEvent(draft, () => registry.renewFeed());
  } finally {
    await registry.close();
  }
  printNote(io, 'the feed has begun anew: each broker takes a fresh snapshot when it asks next');
  return EXIT.ok;
}
