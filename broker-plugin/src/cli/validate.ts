/**
 * `latchkey-broker validate`: checks a config file without starting.
 *
 * Units   none.
 * Errors  exit code 2 with every problem listed.
 * Source  STYLE 2.6.
 *
 * @module
 */
import { ConfigError, EXIT } from '@latchkey/shared';
import { loadBrokerConfig } from '../broker/config.js';
import { checkFeedFiles } from '../broker/feed-config.js';
import { readTlsFiles, TlsFileError } from '../broker/tls-files.js';
import { type ConfigOptions, type Io, writeLine } from './io.js';

export async function runValidate(options: ConfigOptions, io: Io): Promise<number> {
  const config = await loadBrokerConfig(options.config, { isInsecure: options.insecure === true });
  const { issuer, audience, listen, monitor } = config;
  checkFeedFiles(options.config, config);
  for (const [i, { tls }] of listen.entries()) {
    if (tls === undefined) continue;
    await readTlsFiles(tls).catch((error: unknown) => {
      if (!(error instanceof TlsFileError)) throw error;
      throw new ConfigError(options.config, [{ path: `listen.${i}`, message: error.message }]);
    });
  }
  const open = [...listen, ...(monitor === undefined ? [] : [{ type: 'http', ...monitor }])];
  const ports = open.map(({ type, host, port }) => `${type} ${host}:${port}`).join(', ');
  writeLine(
    io.stdout,
    `${options.config} is valid: issuer ${issuer}, audience ${audience}, ${ports}`,
  );
  return EXIT.ok;
}
