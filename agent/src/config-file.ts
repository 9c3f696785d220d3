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
import { ConfigError, parseConfigText } from '@latchkey/shared';
import * as v from 'valibot';
import type { AgentConfig } from './config.js';
import { authoritySchema, keySchema } from './config-authority.js';
import { brokerInFolder, brokerSchema } from './config-broker.js';
import { socketsSchema } from './config-sockets.js';
import { actionSchema, inFolder, sourceSchema } from './config-sources.js';
import { path, seconds, topicFilter, whole } from './config-values.js';

const outboxSchema = v.strictObject({
  max_messages: v.optional(whole(1, 10_000_000), 100_000),
  max_megabytes: v.optional(whole(1, 100_000), 64),
  max_age_hours: v.optional(whole(1, 87_600), 168),
  flush_seconds: v.optional(seconds(0, 60), 5),
  alarm_topics: v.optional(v.pipe(v.array(topicFilter), v.maxLength(64, 'must not exceed 64')), []),
});

function namedOnce<Entry extends { readonly name: string }>(entries: readonly Entry[]): boolean {
  return new Set(entries.map((entry) => entry.name)).size === entries.length;
}

const configSchema = v.strictObject({
  state_dir: path,
  log_level: v.optional(v.picklist(['debug', 'info', 'warn', 'error']), 'info'),
  broker: brokerSchema,
  authority: v.optional(authoritySchema, {}),
  key: v.optional(keySchema, {}),
  outbox: v.optional(outboxSchema, {}),
  socket: v.optional(socketsSchema, []),
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

/** Parses the text of a config file; `file` is its path, for messages and for relative paths. */
export function parseAgentConfig(text: string, file: string): AgentConfig {
  const raw = parseConfigText(configSchema, text, file);
  const dir = dirname(resolve(file));
  return {
    stateDir: resolve(dir, raw.state_dir),
    logLevel: raw.log_level,
    authority: raw.authority,
    key: {
      ...raw.key,
      sshAgentSocket: raw.key.sshAgentSocket && resolve(dir, raw.key.sshAgentSocket),
    },
    broker: brokerInFolder(raw.broker, dir),
    outbox: {
      limits: {
        maxMessages: raw.outbox.max_messages,
        maxBytes: raw.outbox.max_megabytes * 1024 * 1024,
        maxAgeSeconds: raw.outbox.max_age_hours * 3600,
      },
      alarmFilters: raw.outbox.alarm_topics,
      flushSeconds: raw.outbox.flush_seconds,
    },
    sockets: raw.socket.map((socket) => ({ ...socket, path: resolve(dir, socket.path) })),
    sources: raw.source.map((source) => inFolder(source, dir)),
    actions: raw.action,
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
