/**
 * The `[[source]]` and `[[action]]` parts of the config file.
 *
 * Units   `..._seconds`.
 * Errors  none of its own: a schema says what is wrong.
 * Source  STYLE 2.6; `agent.example.toml` shows every option with its default.
 *
 * @module
 */
import { resolve } from 'node:path';
import { FormatError, parsedBy } from '@latchkey/shared';
import * as v from 'valibot';
import type { ActionConfig, SocketAddress, SourceConfig } from './config.js';
import {
  command,
  filterTemplate,
  finite,
  nameTemplate,
  notNegative,
  partName,
  path,
  qos,
  seconds,
  shortText,
  whole,
} from './config-values.js';

const MAX_PORT = 65_535;

/** `tcp://host:port` or `unix:path`. */
export function parseSocketAddress(value: string, field = 'socket'): SocketAddress {
  const [, unixPath] = /^unix:(.+)$/s.exec(value) ?? [];
  if (unixPath !== undefined) return { path: unixPath };
  const url = URL.canParse(value) ? new URL(value) : undefined;
  const { hostname = '', port = '' } = url ?? {};
  const isWhole = url?.href.replace(/\/$/, '') === `tcp://${hostname}:${port}`;
  if (!isWhole || hostname === '' || Number(port) < 1 || Number(port) > MAX_PORT) {
    throw new FormatError(field, 'must be tcp://HOST:PORT or unix:PATH');
  }
  return { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) };
}

const limitSchema = v.strictObject({
  above: finite,
  hysteresis: v.optional(notNegative, 0),
  topic: nameTemplate,
  payload_above: v.string(),
  payload_below: v.string(),
  qos: v.optional(qos, 1),
  retain: v.optional(v.boolean(), false),
});

const format = v.optional(v.picklist(['json', 'cbor']), 'json');

const sourceFields = v.strictObject({
  name: partName,
  file: v.optional(path),
  command: v.optional(command),
  socket: v.optional(
    v.pipe(
      v.string(),
      parsedBy((value) => parseSocketAddress(value)),
    ),
  ),
  send: v.optional(shortText(4096)),
  until: v.optional(v.picklist(['line', 'end'])),
  timeout_seconds: v.optional(seconds(0.1, 3600), 10),
  reads: v.optional(v.picklist(['number', 'text', 'json']), 'number'),
  field: v.optional(v.pipe(shortText(256), v.minLength(1, 'must not be empty'))),
  scale: v.optional(finite),
  unit: v.optional(shortText(64)),
  every_seconds: seconds(0.1, 86_400),
  changed_by: v.optional(notNegative),
  at_least_every_seconds: v.optional(seconds(0.1, 31_536_000)),
  topic: nameTemplate,
  format,
  qos: v.optional(qos, 1),
  retain: v.optional(v.boolean(), false),
  limit: v.optional(v.pipe(v.array(limitSchema), v.maxLength(16, 'must not exceed 16')), []),
});
type SourceFields = v.InferOutput<typeof sourceFields>;

/** Options that say nothing without another one: a slip of the pen, and never a silent one. */
function problemOf(source: SourceFields): string | undefined {
  const { file, command: argv, socket, reads } = source;
  const inputs = [file, argv, socket].filter((input) => input !== undefined).length;
  if (inputs !== 1) return 'must have one of file, command and socket';
  if (socket === undefined && (source.send ?? source.until) !== undefined) {
    return 'may have send and until only with socket';
  }
  if (reads !== 'number' && source.scale !== undefined) return 'may have scale only for numbers';
  if (reads !== 'json' && source.field !== undefined) {
    return 'may have field only with reads = "json"';
  }
  if (reads === 'text' && source.limit.length > 0) return 'may have no limit with reads = "text"';
  if (source.changed_by === undefined && source.at_least_every_seconds !== undefined) {
    return 'may have at_least_every_seconds only with changed_by';
  }
  return undefined;
}

function inputOf(source: SourceFields): SourceConfig['input'] {
  const { file, command: argv, socket, timeout_seconds: timeoutSeconds } = source;
  if (argv !== undefined) return { kind: 'command', command: argv, timeoutSeconds };
  if (socket !== undefined) {
    const { send, until = 'line' } = source;
    return { kind: 'socket', address: socket, send, until, timeoutSeconds };
  }
  return { kind: 'file', path: file as string };
}

function toSource(source: SourceFields): SourceConfig {
  return {
    name: source.name,
    input: inputOf(source),
    reads: source.reads,
    field: source.field,
    scale: source.scale ?? 1,
    unit: source.unit,
    everySeconds: source.every_seconds,
    changedBy: source.changed_by,
    atLeastEverySeconds: source.at_least_every_seconds,
    topic: source.topic,
    format: source.format,
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

export const sourceSchema: v.GenericSchema<unknown, SourceConfig> = v.pipe(
  sourceFields,
  v.rawCheck(({ dataset, addIssue }) => {
    const message = dataset.typed ? problemOf(dataset.value) : undefined;
    if (message !== undefined) addIssue({ message });
  }),
  v.transform(toSource),
);

/** The source with its paths taken from that folder. */
export function inFolder(source: SourceConfig, dir: string): SourceConfig {
  const { input } = source;
  if (input.kind === 'file') {
    return { ...source, input: { ...input, path: resolve(dir, input.path) } };
  }
  if (input.kind === 'socket' && 'path' in input.address) {
    return { ...source, input: { ...input, address: { path: resolve(dir, input.address.path) } } };
  }
  return source;
}

const actionFields = v.strictObject({
  name: partName,
  filter: filterTemplate,
  qos: v.optional(v.picklist([0, 1]), 1),
  payloads: v.optional(
    v.pipe(
      v.array(shortText(1024)),
      v.minLength(1, 'must not be empty'),
      v.maxLength(64, 'must not exceed 64'),
    ),
  ),
  command,
  timeout_seconds: v.optional(seconds(0.1, 3600), 10),
  max_waiting: v.optional(whole(1, 1000), 16),
  topic: v.optional(nameTemplate),
  publishes: v.optional(v.picklist(['output', 'result']), 'output'),
  format,
  retain: v.optional(v.boolean(), false),
});

export const actionSchema: v.GenericSchema<unknown, ActionConfig> = v.pipe(
  actionFields,
  v.check(
    ({ publishes, topic }) => publishes === 'output' || topic !== undefined,
    'may have publishes only with topic',
  ),
  v.check(
    ({ publishes, format: as }) => publishes === 'result' || as === 'json',
    'may have format only with publishes = "result"',
  ),
  v.transform(
    (action): ActionConfig => ({
      name: action.name,
      filter: action.filter,
      qos: action.qos,
      payloads: action.payloads,
      command: action.command,
      timeoutSeconds: action.timeout_seconds,
      maxWaiting: action.max_waiting,
      topic: action.topic,
      publishes: action.publishes,
      format: action.format,
      isRetained: action.retain,
    }),
  ),
);
