/**
 * The part of the config file about local sockets, `[[socket]]`.
 *
 * Units   none.
 * Errors  none here: the schema says what is wrong.
 * Source  STYLE 2.6; `agent.example.toml`.
 *
 * @module
 */
import { parsedBy, parseResourceId } from '@latchkey/shared';
import * as v from 'valibot';
import type { SocketConfig } from './config.js';
import { filterTemplate, path } from './config-values.js';

const MAX_ENTRIES = 64;
const atMost = `must not exceed ${MAX_ENTRIES}`;

const filters = v.optional(v.pipe(v.array(filterTemplate), v.maxLength(MAX_ENTRIES, atMost)), []);
const resource = v.pipe(
  v.string(),
  parsedBy((value) => parseResourceId(value)),
);

const socketSchema = v.strictObject({
  // The longest path that the kernel takes for a socket.
  path: v.pipe(path, v.maxBytes(107, 'must not exceed 107 bytes')),
  mode: v.optional(
    v.pipe(v.string(), v.regex(/^0?[0-7]{3}$/, 'must be an octal mode such as "0660"')),
    '0660',
  ),
  group: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$/, 'must be the name or number of a group'),
    ),
  ),
  publish: filters,
  subscribe: filters,
  resources: v.optional(v.pipe(v.array(resource), v.maxLength(MAX_ENTRIES, atMost)), []),
  outbox: v.optional(v.boolean(), false),
});

type Entry = v.InferOutput<typeof socketSchema>;

const toConfig = ({ path: file, mode, group, outbox, ...rules }: Entry): SocketConfig => ({
  path: file,
  mode: Number.parseInt(mode, 8),
  group,
  rules: { ...rules, hasOutbox: outbox },
});

/** Their paths are as written, still relative to the folder of the file. */
export const socketsSchema: v.GenericSchema<unknown, readonly SocketConfig[]> = v.pipe(
  v.array(socketSchema),
  v.maxLength(16, 'must not exceed 16'),
  v.check(
    (sockets) => new Set(sockets.map((socket) => socket.path)).size === sockets.length,
    'must have different paths',
  ),
  v.transform((sockets) => sockets.map(toConfig)),
);
