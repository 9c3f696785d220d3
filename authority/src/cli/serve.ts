/**
 * `latchkey serve`: runs the authority until a signal ends it.
 *
 * Units   none.
 * Errors  `ConfigError`, `UsageError`, `ListenError`.
 * Source  DESIGN 5.
 *
 * @module
 */
import { once } from 'node:events';
import { EXIT, type ExitCode, type Issuer, isLoopbackHost, type Logger } from '@latchkey/shared';
import type { Authority } from '../authority.js';
import { parseListenAddress } from '../config.js';
import { createLogger } from '../log.js';
import { loadConfig, openAuthority } from '../open-authority.js';
import { requireDataDir } from './data-dir-option.js';
import type { Io } from './io.js';

export interface ServeOptions {
  readonly dataDir?: string;
  readonly listen?: string;
}

/** Clients go where the issuer says; on loopback no proxy is likely to bring them here. */
function warnWhenElsewhere(issuer: Issuer, url: string, logger: Logger): void {
  const { hostname, port } = new URL(issuer);
  if (!isLoopbackHost(hostname) || new URL(url).port === port) return;
  logger.warn(
    { event: 'authority.issuer-elsewhere', issuer, url },
    'clients go to the issuer, which is not where this program listens',
  );
}

async function listenAndWait(
  authority: Authority,
  listen: { host: string; port: number },
  logger: Logger,
  signal: AbortSignal,
): Promise<void> {
  const url = await authority.listen(listen);
  logger.info({ event: 'authority.listening', url }, 'listening');
  warnWhenElsewhere(authority.issuer, url, logger);
  if (!signal.aborted) await once(signal, 'abort');
  logger.info({ event: 'authority.stopping' }, 'stopping');
}

export async function serve(options: ServeOptions, io: Io): Promise<ExitCode> {
  const dataDir = requireDataDir(options.dataDir);
  const config = loadConfig(dataDir);
  const listen =
    options.listen === undefined ? config.listen : parseListenAddress(options.listen, '--listen');
  const logger = createLogger(config.logLevel, io.stdout);
  const authority = await openAuthority({ dataDir, config, clock: io.clock, logger });
  try {
    await listenAndWait(authority, listen, logger, io.signal);
  } finally {
    await authority.close();
  }
  return EXIT.ok;
}
