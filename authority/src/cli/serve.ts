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
import { type Config, checkExposure, type ListenAddress, parseListenAddress } from '../config.js';
import { loadTls } from '../http/tls.js';
import { createLogger } from '../log.js';
import { loadConfig, openAuthority } from '../open-authority.js';
import { requireDataDir } from './data-dir-option.js';
import type { Io } from './io.js';

export interface ServeOptions {
  readonly dataDir?: string;
  readonly listen?: string;
  /** Listens beyond loopback without TLS. */
  readonly insecure?: boolean;
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

/** What is on disk may be half written or wrong: then what is in use stays. */
function reloadTls(authority: Authority, { tls }: Config, logger: Logger): void {
  if (tls === undefined) return;
  try {
    const { credentials, expiresAt } = loadTls(tls);
    authority.setTls(credentials);
    logger.info({ event: 'tls.reloaded', expiresAt }, 'certificate and key read again');
  } catch (err) {
    logger.error({ event: 'tls.not-reloaded', err }, 'the certificate in use stays');
  }
}

function chooseAddress({ listen, insecure }: ServeOptions, config: Config): ListenAddress {
  const address = listen === undefined ? config.listen : parseListenAddress(listen, '--listen');
  const field = listen === undefined ? 'listen' : '--listen';
  if (insecure !== true) checkExposure(address, { tls: config.tls, field });
  return address;
}

async function listenAndWait(
  authority: Authority,
  listen: ListenAddress,
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
  const listen = chooseAddress(options, config);
  const logger = createLogger(config.logLevel, io.stdout);
  const { clock, credentialsDirectory } = io;
  const authority = await openAuthority({ dataDir, config, clock, logger, credentialsDirectory });
  io.onReload?.(() => reloadTls(authority, config, logger));
  try {
    await listenAndWait(authority, listen, logger, io.signal);
  } finally {
    await authority.close();
  }
  return EXIT.ok;
}
