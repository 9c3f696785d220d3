/**
 * `[broker]` in the config file: where the broker is, and how the connection to it is held.
 *
 * Units   `..._seconds`; relative paths are taken from the folder of the file.
 * Errors  `FormatError` for a URL that is refused; it is not echoed, as it may hold a password.
 * Source  STYLE 2.6; STANDARDS 1.1 (the broker is authenticated by TLS); MQTT 3.1.1 3.1.2.5 (will).
 *
 * @module
 */
import { resolve } from 'node:path';
import { FormatError, isLoopbackHost, parsedBy, parseResourceId } from '@latchkey/shared';
import * as v from 'valibot';
import type { BrokerConfig } from './config.js';
import { nameTemplate, qos, seconds, shortText, whole } from './config-values.js';

const MAX_URLS = 8;
/** What the broker plugin takes by default; a will is a word or two. */
const MAX_WILL_CHARACTERS = 1024;

/** An MQTT or WebSocket URL; without TLS only to this machine, since the token is sent in it. */
export function parseBrokerUrl(value: string, field = 'url'): URL {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url === undefined || !['mqtt:', 'mqtts:', 'ws:', 'wss:'].includes(url.protocol)) {
    throw new FormatError(field, 'must be a URL that begins with mqtt, mqtts, ws or wss');
  }
  const isWebSocket = url.protocol.startsWith('ws');
  if (url.hostname === '') throw new FormatError(field, 'must name a host');
  if (url.username !== '' || url.password !== '') {
    throw new FormatError(
      field,
      'must not hold a user name or password; the token takes their place',
    );
  }
  if (url.search !== '' || url.hash !== '' || (!isWebSocket && !/^\/?$/.test(url.pathname))) {
    throw new FormatError(field, 'must not have a query, fragment or, with mqtt, a path');
  }
  if (['mqtt:', 'ws:'].includes(url.protocol) && !isLoopbackHost(url.hostname)) {
    throw new FormatError(field, 'must use mqtts or wss (mqtt and ws are for loopback only)');
  }
  return url;
}

const brokerUrl = v.pipe(
  v.string(),
  parsedBy((value) => parseBrokerUrl(value)),
);

const willSchema = v.strictObject({
  topic: nameTemplate,
  payload: shortText(MAX_WILL_CHARACTERS),
  qos: v.optional(qos, 1),
  retain: v.optional(v.boolean(), false),
});

const fileSchema = v.pipe(
  v.strictObject({
    url: v.optional(brokerUrl),
    urls: v.optional(
      v.pipe(
        v.array(brokerUrl),
        v.minLength(1, 'must name a broker'),
        v.maxLength(MAX_URLS, `must not exceed ${MAX_URLS}`),
      ),
    ),
    resource: v.optional(
      v.pipe(
        v.string(),
        parsedBy((value) => parseResourceId(value)),
      ),
    ),
    ca_file: v.optional(v.string(), ''),
    keepalive_seconds: v.optional(whole(5, 3600), 30),
    connect_timeout_seconds: v.optional(seconds(1, 120), 15),
    answer_timeout_seconds: v.optional(seconds(1, 50), 20),
    start_spread_seconds: v.optional(seconds(0, 3600), 10),
    clean_session: v.optional(v.boolean(), false),
    renewal: v.optional(v.picklist(['session', 'reconnect']), 'reconnect'),
    will: v.optional(willSchema),
  }),
  v.partialCheck(
    [['url'], ['urls']],
    (broker) => (broker.url === undefined) !== (broker.urls === undefined),
    'must have url or urls, and not both',
  ),
);

function toConfig(raw: v.InferOutput<typeof fileSchema>): BrokerConfig {
  const { will } = raw;
  const urls = (raw.urls ?? [raw.url]) as readonly URL[] as readonly [URL, ...URL[]];
  const [{ protocol, host }] = urls;
  return {
    urls,
    resource: raw.resource ?? parseResourceId(`${protocol}//${host}`),
    caFile: raw.ca_file === '' ? undefined : raw.ca_file,
    keepaliveSeconds: raw.keepalive_seconds,
    connectTimeoutSeconds: raw.connect_timeout_seconds,
    answerTimeoutSeconds: raw.answer_timeout_seconds,
    startSpreadSeconds: raw.start_spread_seconds,
    isCleanSession: raw.clean_session,
    renewsInSession: raw.renewal === 'session',
    will: will && {
      topic: will.topic,
      payload: will.payload,
      qos: will.qos,
      isRetained: will.retain,
    },
  };
}

export const brokerSchema: v.GenericSchema<unknown, BrokerConfig> = v.pipe(
  fileSchema,
  v.transform(toConfig),
);

/** Its paths are taken from that folder. */
export function brokerInFolder(broker: BrokerConfig, dir: string): BrokerConfig {
  const { caFile } = broker;
  return caFile === undefined ? broker : { ...broker, caFile: resolve(dir, caFile) };
}
