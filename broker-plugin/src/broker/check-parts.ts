/**
 * Looks at everything that a configuration names, as a start would, without listening or changing it.
 *
 * Units   instants as NumericDate.
 * Errors  none for what is wrong: each part is looked at, and each problem told with its path.
 *         `UnreachableError` when all is right and Redis does not answer.
 * Source  STYLE 2.6; RFC 5280 4.1.2.5 (validity of certificates).
 *
 * @module
 */
import { access, constants } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Clock, ConfigError, type ConfigProblem, silentLogger } from '@latchkey/shared';
import { checkDirectory, loadLevelPackages } from '../persistence/level-persistence.js';
import {
  type Load,
  loadBesideProgram,
  MissingPackageError,
} from '../persistence/optional-package.js';
import type { PersistenceConfig } from '../persistence/persistence-config.js';
import { connectRedis, loadRedis, readRedisOptions } from '../persistence/redis-connection.js';
import { expiryOf, readCertificates } from './certificates.js';
import type { BrokerConfig } from './config.js';
import { checkFeedFiles } from './feed-config.js';
import { readTlsFiles, TlsFileError } from './tls-files.js';

export interface CheckReport {
  /** What keeps the broker from starting. */
  readonly problems: readonly ConfigProblem[];
  /** What will be a problem soon. */
  readonly warnings: readonly ConfigProblem[];
}

const SOON_DAYS = 30;
const DAY_SECONDS = 86_400;

/** What an error says about the configuration; others are bugs. `path`: the option that led to it. */
function problemsOf(error: unknown, path: string): readonly ConfigProblem[] {
  if (error instanceof ConfigError) {
    if (path === '') return error.problems;
    const file = error.message.replace(/ is not valid:.*/s, '');
    return error.problems.map(({ message }) => ({ path, message: `${file} ${message}` }));
  }
  if (error instanceof TlsFileError || error instanceof MissingPackageError) {
    return [{ path, message: error.message }];
  }
  throw error;
}

/** Refuses a directory that could not be made, or not be written. */
async function checkLevelDirectory(directory: string): Promise<void> {
  for (let path = directory; ; path = dirname(path)) {
    try {
      await access(path, constants.W_OK | constants.X_OK);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' && dirname(path) !== path) continue; // it would be made
      throw new ConfigError(directory, [{ path: '', message: `cannot be used (${code})` }]);
    }
    if (path === directory) await checkDirectory(directory);
    return;
  }
}

async function checkPersistence(config: PersistenceConfig, load: Load): Promise<void> {
  if (config.type === 'level') {
    loadLevelPackages(load);
    await checkLevelDirectory(config.directory);
  }
  if (config.type === 'redis') {
    loadRedis(load);
    await readRedisOptions(config);
  }
}

/** Whether Redis answers: the one part that is not on this machine and that a start cannot do without. */
async function reach(config: PersistenceConfig, load: Load): Promise<void> {
  if (config.type !== 'redis') return;
  const redis = await connectRedis(await readRedisOptions(config), { load, logger: silentLogger });
  await redis.quit();
}

export async function checkParts(
  config: BrokerConfig,
  deps: { readonly clock: Clock; readonly load?: Load },
): Promise<CheckReport> {
  const { clock, load = loadBesideProgram } = deps;
  const problems: ConfigProblem[] = [];
  const warnings: ConfigProblem[] = [];
  const look = async (path: string, part: () => unknown): Promise<void> => {
    try {
      await part();
    } catch (error) {
      problems.push(...problemsOf(error, path));
    }
  };
  /** Of a chain, the first that expires makes all of it useless. */
  const lookAtCertificates = (path: string, file: string, isChain: boolean) =>
    look(path, async () => {
      const { list } = await readCertificates(file);
      const expiries = list.map((one) => expiryOf(one) ?? Number.POSITIVE_INFINITY);
      const expiresAt = isChain ? Math.min(...expiries) : Math.max(...expiries);
      const left = expiresAt - clock.now();
      const days = Math.floor(left / DAY_SECONDS);
      if (left <= 0) problems.push({ path, message: `${file} has expired` });
      else if (days < SOON_DAYS)
        warnings.push({ path, message: `${file} expires in ${days} days` });
    });

  if (config.issuerCaFile) await lookAtCertificates('issuer_ca_file', config.issuerCaFile, false);
  for (const [i, { caFile }] of config.thirdPartyIssuers.entries()) {
    if (caFile) await lookAtCertificates(`third_party_issuer.${i}.ca_file`, caFile, false);
  }
  const { stateFile, feed } = config;
  await look('', () => checkFeedFiles('', { stateFile, feed: undefined }));
  await look('', () => checkFeedFiles('', { stateFile: undefined, feed }));
  await look('persistence', () => checkPersistence(config.persistence, load));
  for (const [i, { tls }] of config.listen.entries()) {
    if (tls === undefined) continue;
    const before = problems.length;
    await look(`listen.${i}`, () => readTlsFiles(tls));
    if (problems.length > before) continue;
    await lookAtCertificates(`listen.${i}.certificate_file`, tls.certificateFile, true);
  }
  if (problems.length === 0) await reach(config.persistence, load);
  return { problems, warnings };
}
