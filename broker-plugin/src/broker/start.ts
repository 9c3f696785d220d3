/**
 * Puts `latchkey-broker` together: Aedes, the plugin, the listeners; and takes it apart again.
 *
 * Units   none.
 * Errors  `ListenError` when a listener cannot listen; what was started is stopped first.
 * Source  DESIGN 6; STYLE 2.3 (program lifetime).
 *
 * @module
 */
import { randomBytes } from 'node:crypto';
import type { Duplex } from 'node:stream';
import type { Clock, HttpClient, Logger } from '@latchkey/shared';
import { Aedes } from 'aedes';
import { createLatchkey } from '../latchkey.js';
import type { OpenPersistence } from '../persistence/aedes-persistence.js';
import { openPersistence } from '../persistence/open-persistence.js';
import type { ThirdPartyIssuerOptions } from '../trust/third-party-issuer.js';
import { readCertificates } from './certificates.js';
import type { BrokerConfig } from './config.js';
import { drain } from './drain.js';
import { type Accept, ListenError, type Listener, openListener } from './listeners.js';
import { type Monitor, openMonitor } from './monitor.js';
import type { ThirdPartyConfig } from './third-party-config.js';

export interface Broker {
  readonly listeners: readonly Listener[];
  readonly monitor: Monitor | undefined;
  /** Reads the certificates and their keys anew; a listener that cannot keeps what it has. */
  reload(): Promise<void>;
  /** Stops accepting, and lets the connections finish what they began, for a bounded time. */
  drain(): Promise<void>;
  /** Stops accepting, ends the sessions, and resolves when nothing is left. */
  close(): Promise<void>;
}

async function withCertificates({
  caFile,
  ...options
}: ThirdPartyConfig): Promise<ThirdPartyIssuerOptions> {
  return caFile === undefined ? options : { ...options, ca: (await readCertificates(caFile)).pem };
}

/**
 * A persistence sorts what waits for a client by the broker that took it in, and each start is a broker
 * of its own: the time in front keeps the order over a restart.
 */
function newBrokerId(clock: Clock): string {
  return `${clock.nowMs().toString(16).padStart(12, '0')}-${randomBytes(8).toString('hex')}`;
}

/** From here on something runs: whoever fails afterwards has to close it. */
async function openAedes(
  { persistence: config }: BrokerConfig,
  { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
): Promise<{ readonly aedes: Aedes; readonly stored: OpenPersistence }> {
  const stored = await openPersistence(config, { logger });
  const { persistence } = stored;
  try {
    const id = newBrokerId(clock);
    const aedes = await Aedes.createBroker(
      persistence === undefined ? { id } : { id, persistence },
    );
    return { aedes, stored };
  } catch (error) {
    await stored.close();
    throw error;
  }
}

export async function startBroker(
  config: BrokerConfig,
  deps: { readonly clock: Clock; readonly logger: Logger; readonly http?: HttpClient },
): Promise<Broker> {
  const { issuerCaFile, thirdPartyIssuers, limits, maxConnections } = config;
  const { issuer, audience, protection, dollarTopics, tokenIn, serviceInstances, graceSeconds } =
    config;
  const { stateFile, feed } = config;
  const { logger } = deps;
  const trusted = issuerCaFile && (await readCertificates(issuerCaFile));
  const thirdParties = await Promise.all(thirdPartyIssuers.map(withCertificates));
  const latchkey = createLatchkey({
    ...{
      issuer,
      audience,
      limits,
      protection,
      dollarTopics,
      tokenIn,
      serviceInstances,
      graceSeconds,
    },
    thirdPartyIssuers: thirdParties,
    ...(trusted ? { issuerCa: trusted.pem } : {}),
    ...(stateFile === undefined ? {} : { stateFile }),
    ...(feed === undefined ? {} : { feed, maxStalenessSeconds: feed.maxStalenessSeconds }),
    ...deps,
  });
  const { aedes, stored } = await openAedes(config, deps).catch(async (error: unknown) => {
    await latchkey.close();
    throw error;
  });
  latchkey.install(aedes);
  const listeners: Listener[] = [];
  let monitor: Monitor | undefined;

  const connections = new Set<Duplex>();
  const accept: Accept = (stream, request) => {
    const guarded = latchkey.guard(stream, request, { isCounted: true });
    if (guarded.destroyed) return;
    connections.add(guarded);
    guarded.once('close', () => connections.delete(guarded));
    aedes.handle(guarded, request);
  };

  const drainConnections = async (): Promise<void> => {
    for (const listener of listeners) listener.stop();
    const count = connections.size;
    logger.info({ event: 'broker.draining', connections: count }, 'finishing what was begun');
    const left = await drain(connections, { clock: deps.clock, timeoutMs: config.drainMs });
    if (left === 0) return;
    const fields = { event: 'drain.incomplete', connections: left };
    logger.warn(fields, 'the time for draining is over; these connections are cut off');
  };

  const close = async (): Promise<void> => {
    const closed = listeners.map((listener) => listener.close());
    await monitor?.close();
    await latchkey.close();
    await new Promise<void>((resolve) => aedes.close(resolve));
    await Promise.all(closed);
    await stored.close();
  };

  const reload = async (): Promise<void> => {
    for (const [index, listener] of listeners.entries()) {
      if (config.listen[index]?.tls === undefined) continue;
      const { type, host, port } = listener;
      try {
        await listener.reload();
        logger.info({ event: 'listener.reloaded', type, host, port }, 'certificate read anew');
      } catch (error) {
        if (!(error instanceof ListenError)) throw error;
        const fields = { event: 'listener.failed', type, host, port, detail: error.message };
        logger.error(fields, 'the certificate cannot be read, the old one is kept');
      }
    }
  };

  try {
    for (const [index, entry] of config.listen.entries()) {
      const listener = await openListener(
        {
          config: entry,
          maxConnections,
          maxMessageBytes: limits.packetBytes,
          handshakeTimeoutMs: limits.connectTimeoutMs,
          takeConnection: latchkey.takeConnection,
          accept,
        },
        index,
      );
      listeners.push(listener);
      const { type, host, port } = listener;
      logger.info({ event: 'broker.listening', type, host, port }, 'listening');
    }
    if (config.monitor !== undefined) {
      monitor = await openMonitor(config.monitor, {
        metrics: latchkey.metrics,
        isReady: () => latchkey.isReady() && stored.isReady(),
      });
      const { host, port } = monitor;
      logger.info({ event: 'broker.listening', type: 'http', host, port }, 'listening');
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { listeners, monitor, reload, drain: drainConnections, close };
}
