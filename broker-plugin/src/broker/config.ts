/**
 * Configuration of `latchkey-broker`: one strict TOML schema, all problems listed together.
 *
 * Units   bytes, seconds in the file, milliseconds where a member says so.
 * Errors  `ConfigError` with the dotted path of each problem.
 * Source  STYLE 2.6; `broker.example.toml` shows every option with its default.
 *
 * @module
 */
import { readFile } from 'node:fs/promises';
import {
  ConfigError,
  type Issuer,
  isLoopbackHost,
  parseConfigText,
  parsedBy,
  parseIssuer,
  parseResourceId,
  type ResourceId,
} from '@latchkey/shared';
import * as v from 'valibot';
import type { TokenPlace } from '../authenticate.js';
import { MAX_DOLLAR_TOPICS, parseDollarTopic } from '../dollar-topics.js';
import { type Limits, SERVICE_INSTANCES, TOKEN_PLACES } from '../options.js';
import { type PersistenceConfig, persistenceSchema } from '../persistence/persistence-config.js';
import type { ProtectionOptions } from '../protection-options.js';
import { MAX_GRACE_SECONDS } from '../session-clock.js';
import type { ServiceInstances } from '../trust/service-instances.js';
import { checkFeed, type FeedConfig, feedSchema } from './feed-config.js';
import { limitsSchema, protectionSchema, whole } from './limits-config.js';
import { checkIssuers, type ThirdPartyConfig, thirdPartySchema } from './third-party-config.js';
import type { TlsFiles } from './tls-files.js';

export type ListenerType = 'tcp' | 'websocket' | 'tls' | 'secure-websocket';

export interface ListenConfig {
  readonly type: ListenerType;
  readonly host: string;
  readonly port: number;
  /** For `tls` and `secure-websocket`. */
  readonly tls: TlsFiles | undefined;
}

/** Where metrics and health are told. */
export interface MonitorConfig {
  readonly host: string;
  readonly port: number;
}

export interface BrokerConfig {
  /** `undefined`: third parties alone. */
  readonly issuer: Issuer | undefined;
  readonly audience: ResourceId;
  /** PEM of the certificate authorities that are trusted for the issuer; `undefined`: the system's. */
  readonly issuerCaFile: string | undefined;
  readonly thirdPartyIssuers: readonly ThirdPartyConfig[];
  /** First levels of topics with `$` that are open. */
  readonly dollarTopics: readonly string[];
  readonly tokenIn: TokenPlace;
  readonly serviceInstances: ServiceInstances;
  readonly graceSeconds: number;
  /** Where copies of keys and of the feed are kept; `undefined`: nowhere. */
  readonly stateFile: string | undefined;
  readonly feed: FeedConfig | undefined;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
  readonly limits: Limits;
  readonly protection: ProtectionOptions;
  /** Connections at once, for each listener. */
  readonly maxConnections: number;
  readonly persistence: PersistenceConfig;
  /** How long connections may finish what they began when the broker ends. */
  readonly drainMs: number;
  readonly listen: readonly ListenConfig[];
  /** `undefined`: nowhere. */
  readonly monitor: MonitorConfig | undefined;
}

const MAX_LISTENERS = 16;
const DEFAULT_DRAIN_SECONDS = 5;
const MAX_DRAIN_SECONDS = 300;

const text = v.string();

const nonEmpty = v.pipe(text, v.nonEmpty('must not be empty'));

const plainSchema = (isInsecure: boolean) =>
  v.strictObject({
    type: v.picklist(['tcp', 'websocket']),
    host: v.optional(
      v.pipe(
        text,
        v.check(
          (host) => (isInsecure && host !== '') || isLoopbackHost(host),
          'is reached from other machines, and there is no TLS: take type tls or secure-websocket, or listen on 127.0.0.1 behind a proxy that speaks TLS; "latchkey-broker --insecure" listens all the same',
        ),
      ),
      '127.0.0.1',
    ),
    port: whole(0, 65_535),
  });

const secureSchema = v.strictObject({
  type: v.picklist(['tls', 'secure-websocket']),
  host: v.optional(nonEmpty, '127.0.0.1'),
  port: whole(0, 65_535),
  certificate_file: nonEmpty,
  key_file: nonEmpty,
});

const listenSchema = (isInsecure: boolean) =>
  v.variant('type', [plainSchema(isInsecure), secureSchema]);

function listenConfig(entry: v.InferOutput<ReturnType<typeof listenSchema>>): ListenConfig {
  const { type, host, port } = entry;
  const tls =
    'key_file' in entry
      ? { certificateFile: entry.certificate_file, keyFile: entry.key_file }
      : undefined;
  return { type, host, port, tls };
}

const httpSchema = v.strictObject({
  host: v.optional(
    v.pipe(
      text,
      v.check(
        isLoopbackHost,
        'must be a loopback host such as 127.0.0.1: whoever reads it is not asked who they are',
      ),
    ),
    '127.0.0.1',
  ),
  port: whole(0, 65_535),
});

/** Two entries on one port can never both listen; port 0 takes a free one each time. */
function haveOwnPorts<Entry extends { readonly host: string; readonly port: number }>(
  entries: readonly Entry[],
): boolean {
  const ports = entries.filter(({ port }) => port !== 0).map((one) => `${one.host}:${one.port}`);
  return new Set(ports).size === ports.length;
}

const configSchema = (isInsecure: boolean) =>
  v.pipe(
    v.strictObject({
      issuer: v.optional(
        v.pipe(
          text,
          parsedBy((value) => parseIssuer(value)),
        ),
      ),
      audience: v.pipe(
        text,
        parsedBy((value) => parseResourceId(value)),
      ),
      issuer_ca_file: v.optional(nonEmpty),
      dollar_topics: v.optional(
        v.pipe(
          v.array(v.pipe(text, parsedBy(parseDollarTopic))),
          v.maxLength(MAX_DOLLAR_TOPICS, `must not have more than ${MAX_DOLLAR_TOPICS} entries`),
        ),
        [],
      ),
      token_in: v.optional(v.picklist(TOKEN_PLACES), TOKEN_PLACES[0]),
      service_instances: v.optional(v.picklist(SERVICE_INSTANCES), SERVICE_INSTANCES[0]),
      grace_seconds: v.optional(whole(0, MAX_GRACE_SECONDS), 0),
      state_file: v.optional(nonEmpty),
      feed: v.optional(feedSchema),
      log_level: v.optional(v.picklist(['debug', 'info', 'warn', 'error']), 'info'),
      drain_seconds: v.optional(whole(0, MAX_DRAIN_SECONDS), DEFAULT_DRAIN_SECONDS),
      limits: v.optional(limitsSchema, {}),
      protection: v.optional(protectionSchema, {}),
      persistence: v.optional(persistenceSchema(isInsecure), { type: 'memory' }),
      listen: v.pipe(
        v.array(listenSchema(isInsecure)),
        v.minLength(1, 'must have at least one entry'),
        v.maxLength(MAX_LISTENERS, `must not have more than ${MAX_LISTENERS} entries`),
        v.check(haveOwnPorts, 'must not name one host and port twice'),
      ),
      http: v.optional(httpSchema),
      third_party_issuer: v.optional(v.array(thirdPartySchema), []),
    }),
    checkIssuers(),
    checkFeed(),
  );

export interface Exposure {
  /** Listens beyond loopback without TLS. Default false. */
  readonly isInsecure?: boolean;
}

/** Parses the text of a config file; `file` is its name for messages. */
export function parseBrokerConfig(
  source: string,
  file: string,
  { isInsecure = false }: Exposure = {},
): BrokerConfig {
  const config = parseConfigText(configSchema(isInsecure), source, file);
  const { issuer, audience, issuer_ca_file, log_level, limits, protection, listen, http } = config;
  return Object.freeze({
    issuer,
    audience,
    issuerCaFile: issuer_ca_file,
    thirdPartyIssuers: config.third_party_issuer,
    dollarTopics: config.dollar_topics,
    tokenIn: config.token_in,
    serviceInstances: config.service_instances,
    graceSeconds: config.grace_seconds,
    stateFile: config.state_file,
    feed: config.feed,
    logLevel: log_level,
    maxConnections: limits.maxConnections,
    limits: limits.limits,
    protection,
    persistence: config.persistence,
    drainMs: config.drain_seconds * 1000,
    listen: listen.map(listenConfig),
    monitor: http,
  });
}

/** Reads and parses a config file. */
export async function loadBrokerConfig(
  file: string,
  exposure: Exposure = {},
): Promise<BrokerConfig> {
  let source: string;
  try {
    source = await readFile(file, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
    throw new ConfigError(file, [{ path: '', message: `cannot be read (${code})` }]);
  }
  return parseBrokerConfig(source, file, exposure);
}
