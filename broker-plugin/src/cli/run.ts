/**
 * `latchkey-broker run`: the broker, until SIGTERM or SIGINT.
 *
 * Units   none.
 * Errors  exit code 1 when a listener cannot listen, 2 for configuration.
 * Source  DESIGN 6; STYLE 2.3, 2.7.
 *
 * @module
 */
import { once } from 'node:events';
import { EXIT, isLoopbackHost, type Logger, strikeOut } from '@latchkey/shared';
import { type BrokerConfig, loadBrokerConfig } from '../broker/config.js';
import { startBroker } from '../broker/start.js';
import type { ConfigOptions, Io } from './io.js';

function warnWhenInsecure({ listen }: BrokerConfig, logger: Logger): void {
  for (const { type, host, port, tls } of listen) {
    if (tls !== undefined || isLoopbackHost(host)) continue;
    logger.warn(
      { event: 'broker.insecure', type, host, port },
      'without TLS and reached from other machines: whoever is on the way can read tokens and use them',
    );
  }
}

export async function runRun(options: ConfigOptions, io: Io): Promise<number> {
  const config = await loadBrokerConfig(options.config, { isInsecure: options.insecure === true });
  const { pino } = await import('pino'); // only the running broker writes a log
  const logger = pino(
    { level: config.logLevel, base: null, formatters: { log: strikeOut } },
    io.stdout,
  );
  warnWhenInsecure(config, logger);
  const broker = await startBroker(config, { clock: io.clock, logger });
  io.onReload?.(() => {
    broker.reload().catch((error: unknown) => {
      logger.error({ event: 'reload.failed', err: error }, 'unexpected error');
    });
  });
  if (!io.signal.aborted) await once(io.signal, 'abort');
  await broker.drain();
  await broker.close();
  logger.info({ event: 'broker.stopped' }, 'stopped');
  return EXIT.ok;
}
