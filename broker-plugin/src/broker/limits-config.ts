/**
 * Sections `[limits]` and `[protection]` of the configuration of `latchkey-broker`.
 *
 * Units   bytes, and seconds in the file, as the names say.
 * Errors  none; a problem is one of the schema.
 * Source  STYLE 2.6; `broker.example.toml` shows every option with its default.
 *
 * @module
 */
import { parsedBy, parseNetwork } from '@latchkey/shared';
import * as v from 'valibot';
import { DEFAULT_LIMITS, LIMIT_BOUNDS, type Limits } from '../options.js';
import {
  DEFAULT_PROTECTION,
  PROTECTION_BOUNDS,
  type ProtectionOptions,
} from '../protection-options.js';

/** A whole number within these bounds. */
export const whole = (least: number, most: number): v.GenericSchema<number> => {
  const expected = `must be a whole number from ${least} to ${most}`;
  return v.pipe(
    v.number(),
    v.integer(expected),
    v.minValue(least, expected),
    v.maxValue(most, expected),
  );
};

/** What the plugin bounds, and what the listeners do. */
export interface LimitsSection {
  readonly limits: Limits;
  /** Connections at once, for each listener. */
  readonly maxConnections: number;
}

const limit = (name: keyof Limits) =>
  v.optional(whole(1, LIMIT_BOUNDS[name]), DEFAULT_LIMITS[name]);
const limitSeconds = (name: 'connectTimeoutMs' | 'authenticateTimeoutMs') =>
  v.optional(whole(1, LIMIT_BOUNDS[name] / 1000), DEFAULT_LIMITS[name] / 1000);

export const limitsSchema: v.GenericSchema<unknown, LimitsSection> = v.pipe(
  v.strictObject({
    max_connections: v.optional(whole(1, 10_000_000), 10_000),
    pending_connects: limit('pendingConnects'),
    connect_bytes: limit('connectBytes'),
    connect_timeout_seconds: limitSeconds('connectTimeoutMs'),
    authenticate_timeout_seconds: limitSeconds('authenticateTimeoutMs'),
    packet_bytes: limit('packetBytes'),
    max_keepalive_seconds: limit('maxKeepaliveSeconds'),
    filters_per_subscribe: limit('filtersPerSubscribe'),
    queued_messages: limit('queuedMessages'),
    known_tokens: limit('knownTokens'),
  }),
  v.transform((section) => ({
    maxConnections: section.max_connections,
    limits: Object.freeze({
      pendingConnects: section.pending_connects,
      connectBytes: section.connect_bytes,
      connectTimeoutMs: section.connect_timeout_seconds * 1000,
      authenticateTimeoutMs: section.authenticate_timeout_seconds * 1000,
      packetBytes: section.packet_bytes,
      maxKeepaliveSeconds: section.max_keepalive_seconds,
      filtersPerSubscribe: section.filters_per_subscribe,
      queuedMessages: section.queued_messages,
      knownTokens: section.known_tokens,
    }),
  })),
);

const MAX_NETWORKS = 1000;
const network = v.pipe(
  v.string(),
  parsedBy((value) => parseNetwork(value)),
);
const protection = (name: keyof typeof PROTECTION_BOUNDS) =>
  v.optional(whole(1, PROTECTION_BOUNDS[name]), DEFAULT_PROTECTION[name]);

export const protectionSchema: v.GenericSchema<unknown, ProtectionOptions> = v.pipe(
  v.strictObject({
    connections_per_second: protection('connectionsPerSecond'),
    connection_burst: protection('connectionBurst'),
    failures_per_client: protection('failuresPerClient'),
    failures_per_address: protection('failuresPerAddress'),
    failure_window_seconds: protection('failureWindowSeconds'),
    longest_ban_seconds: protection('longestBanSeconds'),
    exempt_addresses: v.optional(
      v.pipe(
        v.array(network),
        v.maxLength(MAX_NETWORKS, `must not have more than ${MAX_NETWORKS} entries`),
      ),
      [...DEFAULT_PROTECTION.exemptAddresses],
    ),
  }),
  v.transform((section) =>
    Object.freeze({
      connectionsPerSecond: section.connections_per_second,
      connectionBurst: section.connection_burst,
      failuresPerClient: section.failures_per_client,
      failuresPerAddress: section.failures_per_address,
      failureWindowSeconds: section.failure_window_seconds,
      longestBanSeconds: section.longest_ban_seconds,
      exemptAddresses: section.exempt_addresses,
    }),
  ),
);
