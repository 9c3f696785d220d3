/**
 * `latchkey-broker validate`: checks a config file, and all it names, without starting.
 *
 * Units   none.
 * Errors  exit code 2 with every problem listed, 3 when Redis does not answer.
 * Source  STYLE 2.6, 2.10.
 *
 * @module
 */
import { ConfigError, EXIT } from '@latchkey/shared';
import { checkParts } from '../broker/check-parts.js';
import { type BrokerConfig, loadBrokerConfig } from '../broker/config.js';
import { type ConfigOptions, type Io, writeLine } from './io.js';

export interface ValidateOptions extends ConfigOptions {
  readonly json?: boolean;
}

interface Found {
  readonly issuers: readonly string[];
  readonly audience: string;
  readonly listen: readonly {
    readonly type: string;
    readonly host: string;
    readonly port: number;
  }[];
  readonly persistence: string;
  readonly followsFeed: boolean;
}

function found(config: BrokerConfig): Found {
  const { issuer, thirdPartyIssuers, audience, listen, monitor, persistence, feed } = config;
  const listeners = listen.map(({ type, host, port }) => ({ type, host, port }));
  return {
    issuers: [...(issuer ? [issuer] : []), ...thirdPartyIssuers.map((one) => one.issuer)],
    audience,
    listen: monitor === undefined ? listeners : [...listeners, { type: 'http', ...monitor }],
    persistence: persistence.type,
    followsFeed: feed !== undefined,
  };
}

async function check(options: ConfigOptions, io: Io) {
  const isInsecure = options.insecure === true;
  const config = await loadBrokerConfig(options.config, { isInsecure });
  const { problems, warnings } = await checkParts(config, { clock: io.clock });
  if (problems.length > 0) throw new ConfigError(options.config, problems);
  return { ...found(config), warnings };
}

async function validateAsJson(options: ConfigOptions, io: Io): Promise<number> {
  const print = (result: object) => writeLine(io.stdout, JSON.stringify(result, null, 2));
  try {
    print({ valid: true, ...(await check(options, io)) });
    return EXIT.ok;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    print({ valid: false, problems: error.problems });
    return EXIT.usage;
  }
}

export async function runValidate(options: ValidateOptions, io: Io): Promise<number> {
  if (options.json === true) return validateAsJson(options, io);
  const result = await check(options, io);
  const { issuers, audience, listen, persistence, followsFeed, warnings } = result;
  const ports = listen.map(({ type, host, port }) => `${type} ${host}:${port}`).join(', ');
  const lines = [
    `${options.config} is valid`,
    `  issuers      ${issuers.join(', ')}`,
    `  audience     ${audience}`,
    `  trust feed   ${followsFeed ? 'followed' : 'not followed'}`,
    `  sessions     ${persistence}`,
    `  listens on   ${ports}`,
  ];
  for (const line of lines) writeLine(io.stdout, line);
  for (const { path, message } of warnings)
    writeLine(io.stderr, `warning: ${path === '' ? '' : `${path}: `}${message}`);
  return EXIT.ok;
}
