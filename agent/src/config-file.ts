/**
 * The config file of `latchkey-agent run`: one strict TOML schema, all problems listed together.
 *
 * Units   `..._seconds`, `..._hours`, `..._megabytes`; relative paths are taken from the folder of the file.
 * Errors  `ConfigError` with the dotted path of each problem.
 * Source  STYLE 2.6; `agent.example.toml` shows every option with its default.
 *
 * @module
 */
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import {
  ConfigError,
  FormatError,
  isLoopbackHost,
  parseConfigText,
  parsedBy,
  parseResourceId,
  parseTopicFilter,
  parseTopicName,
} from '@latchkey/shared';
import * as v from 'valibot';
import type { AgentConfig, Command, SourceConfig } from './config.js';

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

const topicName = v.pipe(
  v.string(),
  parsedBy((value) => parseTopicName(value)),
);
const topicFilter = v.pipe(
  v.string(),
  parsedBy((value) => parseTopicFilter(value)),
);
const path = v.pipe(v.string(), v.minLength(1, 'must not be empty'));
const name = v.pipe(
  v.string(),
  v.regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
    'must be 1 to 64 characters of A-Z a-z 0-9 . _ - and begin with a letter or digit',
  ),
);
const number = v.pipe(v.number(), v.finite('must be finite'));
const seconds = (least: number, most: number) =>
  v.pipe(
    v.number(),
    v.minValue(least, `must be ${least} or more`),
    v.maxValue(most, `must be ${most} or less`),
  );
const command = v.pipe(
  v.array(v.string()),
  v.minLength(1, 'must name a program'),
  v.maxLength(64, 'must not exceed 64 arguments'),
);
const qos = v.picklist([0, 1, 2]);
const qosReceived = v.picklist([0, 1]);

const limitSchema = v.strictObject({
  above: number,
  hysteresis: v.optional(v.pipe(number, v.minValue(0, 'must be 0 or more')), 0),
  topic: topicName,
  payload_above: v.string(),
  payload_below: v.string(),
  qos: v.optional(qos, 1),
  retain: v.optional(v.boolean(), false),
});

const sourceSchema = v.pipe(
  v.strictObject({
    name,
    file: v.optional(path),
    command: v.optional(command),
    timeout_seconds: v.optional(seconds(0.1, 3600), 10),
    scale: v.optional(number, 1),
    unit: v.optional(v.pipe(v.string(), v.maxLength(64, 'must not exceed 64 characters'))),
    every_seconds: seconds(0.1, 86_400),
    topic: topicName,
    qos: v.optional(qos, 1),
    retain: v.optional(v.boolean(), false),
    limit: v.optional(v.pipe(v.array(limitSchema), v.maxLength(16, 'must not exceed 16')), []),
  }),
  v.partialCheck(
    [['file'], ['command']],
    (source) => (source.file === undefined) !== (source.command === undefined),
    'must have file or command, and not both',
  ),
);

const actionSchema = v.strictObject({
  name,
  filter: topicFilter,
  qos: v.optional(qosReceived, 1),
  command,
  timeout_seconds: v.optional(seconds(0.1, 3600), 10),
  topic: v.optional(topicName),
  retain: v.optional(v.boolean(), false),
});

const whole = (least: number, most: number) =>
  v.pipe(seconds(least, most), v.integer('must be whole'));

const outboxSchema = v.strictObject({
  max_messages: v.optional(whole(1, 10_000_000), 100_000),
  max_megabytes: v.optional(whole(1, 100_000), 64),
  max_age_hours: v.optional(whole(1, 87_600), 168),
  alarm_topics: v.optional(v.pipe(v.array(topicFilter), v.maxLength(64, 'must not exceed 64')), []),
});

const keySchema = v.strictObject({ ssh_agent_socket: v.optional(v.string(), '') });

function namedOnce<Entry extends { readonly name: string }>(entries: readonly Entry[]): boolean {
  return new Set(entries.map((entry) => entry.name)).size === entries.length;
}

const configSchema = v.strictObject({
  state_dir: path,
  log_level: v.optional(v.picklist(['debug', 'info', 'warn', 'error']), 'info'),
  broker: v.strictObject({
    url: v.pipe(
      v.string(),
      parsedBy((value) => parseBrokerUrl(value)),
    ),
    resource: v.optional(
      v.pipe(
        v.string(),
        parsedBy((value) => parseResourceId(value)),
      ),
    ),
    keepalive_seconds: v.optional(v.pipe(seconds(5, 3600), v.integer('must be whole')), 30),
    clean_session: v.optional(v.boolean(), false),
    renewal: v.optional(v.picklist(['session', 'reconnect']), 'reconnect'),
  }),
  key: v.optional(keySchema, {}),
  outbox: v.optional(outboxSchema, {}),
  source: v.optional(
    v.pipe(
      v.array(sourceSchema),
      v.maxLength(64, 'must not exceed 64'),
      v.check(namedOnce, 'must have different names'),
    ),
    [],
  ),
  action: v.optional(
    v.pipe(
      v.array(actionSchema),
      v.maxLength(32, 'must not exceed 32'),
      v.check(namedOnce, 'must have different names'),
    ),
    [],
  ),
});

type SourceFile = v.InferOutput<typeof sourceSchema>;

function sourceOf(source: SourceFile, dir: string): SourceConfig {
  const { file, command: argv = [] } = source;
  return {
    name: source.name,
    input:
      file === undefined
        ? {
            kind: 'command',
            command: argv as unknown as Command,
            timeoutSeconds: source.timeout_seconds,
          }
        : { kind: 'file', path: resolve(dir, file) },
    scale: source.scale,
    unit: source.unit,
    everySeconds: source.every_seconds,
    topic: source.topic,
    qos: source.qos,
    isRetained: source.retain,
    limits: source.limit.map((limit) => ({
      above: limit.above,
      hysteresis: limit.hysteresis,
      topic: limit.topic,
      payloadAbove: limit.payload_above,
      payloadBelow: limit.payload_below,
      qos: limit.qos,
      isRetained: limit.retain,
    })),
  };
}

/** Parses the text of a config file; `file` is its path, for messages and for relative paths. */
export function parseAgentConfig(text: string, file: string): AgentConfig {
  const raw = parseConfigText(configSchema, text, file);
  const dir = dirname(resolve(file));
  const { url } = raw.broker;
  return {
    stateDir: resolve(dir, raw.state_dir),
    logLevel: raw.log_level,
    key: {
      sshAgentSocket: raw.key.ssh_agent_socket ? resolve(dir, raw.key.ssh_agent_socket) : undefined,
    },
    broker: {
      url,
      resource: raw.broker.resource ?? parseResourceId(`${url.protocol}//${url.host}`),
      keepaliveSeconds: raw.broker.keepalive_seconds,
      isCleanSession: raw.broker.clean_session,
      renewsInSession: raw.broker.renewal === 'session',
    },
    outbox: {
      limits: {
        maxMessages: raw.outbox.max_messages,
        maxBytes: raw.outbox.max_megabytes * 1024 * 1024,
        maxAgeSeconds: raw.outbox.max_age_hours * 3600,
      },
      alarmFilters: raw.outbox.alarm_topics,
    },
    sources: raw.source.map((source) => sourceOf(source, dir)),
    actions: raw.action.map((action) => ({
      name: action.name,
      filter: action.filter,
      qos: action.qos,
      command: action.command as unknown as Command,
      timeoutSeconds: action.timeout_seconds,
      topic: action.topic,
      isRetained: action.retain,
    })),
    workingDir: dir,
  };
}

/** Reads and parses a config file. */
export async function loadAgentConfig(file: string): Promise<AgentConfig> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
    throw new ConfigError(file, [{ path: '', message: `cannot be read (${code})` }]);
  }
  return parseAgentConfig(text, file);
}
