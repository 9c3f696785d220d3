/**
 * `latchkey-broker healthcheck`: asks the running broker whether it can let clients in.
 *
 * Units   milliseconds.
 * Errors  exit code 1 when it runs and is not ready, 2 without `[http]`, 3 when nobody answers.
 * Source  STYLE 2.10.
 *
 * @module
 */
import { createHttpClient, EXIT, UsageError } from '@latchkey/shared';
import { loadBrokerConfig } from '../broker/config.js';
import { type ConfigOptions, type Io, writeLine } from './io.js';

const TIMEOUT_MS = 3_000;

export interface HealthcheckOptions extends ConfigOptions {
  /** Asks only whether it runs. */
  readonly live?: boolean;
}

export async function runHealthcheck(options: HealthcheckOptions, io: Io): Promise<number> {
  // Where it listens was judged when it started.
  const { monitor } = await loadBrokerConfig(options.config, { isInsecure: true });
  if (monitor === undefined) {
    throw new UsageError(`${options.config}: healthcheck needs the section [http]`);
  }
  const host = monitor.host.includes(':')
    ? `[${monitor.host.replace(/^\[|\]$/g, '')}]`
    : monitor.host;
  const path = options.live === true ? '/healthz' : '/readyz';
  const http = createHttpClient({ timeoutMs: TIMEOUT_MS, maxBodyBytes: 4096 });
  const url = `http://${host}:${monitor.port}${path}`;
  const { status } = await http.request({ method: 'GET', url, signal: io.signal });
  writeLine(io.stdout, status === 200 ? 'ready' : `not ready (${status})`);
  return status === 200 ? EXIT.ok : EXIT.failed;
}
