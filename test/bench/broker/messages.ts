/**
 * What the suite says to the process that makes load and to the brokers, and what they answer.
 *
 * Units   milliseconds, microseconds, bytes and seconds as the names say.
 *
 * @module
 */
import type { Qos } from '@latchkey/shared';

export const AUDIENCE = 'mqtts://broker.example';
/** What Mosquitto's clients send instead of a token. */
export const PASSWORD = 'correct-horse-battery-staple';

export interface Target {
  readonly port: number;
  readonly credential: 'token' | 'password';
}

/** Devices by number, from `first` on. */
export interface Devices {
  readonly first: number;
  readonly count: number;
}

export interface ConnectOrder {
  readonly type: 'connect';
  readonly target: Target;
  readonly devices: Devices;
  /** `known`: the token that the device had the last time. */
  readonly tokens: 'fresh' | 'known';
  readonly atOnce: number;
}

/** Opens sessions and keeps them; more of them with each order. */
export interface HoldOrder {
  readonly type: 'hold';
  readonly target: Target;
  readonly devices: Devices;
  readonly ttlSeconds: number;
}

/** Publishes as fast as the subscribers receive. */
export interface PublishOrder {
  readonly type: 'publish';
  readonly target: Target;
  readonly publishers: number;
  readonly subscribers: number;
  readonly qos: Exclude<Qos, 2>;
  /** Whether each client has `MANY` topic scopes. */
  readonly hasMany: boolean;
}

export type LoadQuestion =
  | { readonly type: 'issuer'; readonly issuer: string }
  | ConnectOrder
  | HoldOrder
  | PublishOrder
  /** Waits until the broker closed all sessions that are held, or those of these devices. */
  | { readonly type: 'wait-for-end'; readonly devices?: Devices }
  /** Closes them. */
  | { readonly type: 'release' };

export interface LoadAnswer {
  readonly operations: number;
  readonly ms: number;
  /** `issuer`: the key that tokens are signed with. */
  readonly jwk?: object;
  /** When the session of each device was closed, since the epoch. */
  readonly endedAtMs?: ReadonlyMap<number, number>;
}

export type BrokerQuestion =
  | { readonly type: 'port' }
  /** Forces a garbage collection first. */
  | { readonly type: 'memory' }
  | { readonly type: 'cpu' }
  /** Forgets the delays of the event loop so far. */
  | { readonly type: 'forget-delays' }
  | { readonly type: 'longest-delay' }
  /** Revokes devices one after the other, `everyMs`. */
  | { readonly type: 'revoke'; readonly devices: Devices; readonly everyMs: number };

export interface BrokerAnswer {
  readonly port?: number;
  readonly rssBytes?: number;
  /** What V8 holds, and the buffers outside its heap. */
  readonly heapBytes?: number;
  readonly cpuMicroseconds?: number;
  readonly longestDelayMs?: number;
  /** When each device was revoked, since the epoch. */
  readonly revokedAtMs?: readonly number[];
}

/** Id of a device; all have the same length. */
export const deviceId = (index: number): string => `d-${String(index).padStart(7, '0')}`;

/** What a publisher sends to, and the one filter of a subscriber. */
export const telemetryOf = (id: string): string => `devices/${id}/telemetry/temperature`;
export const ALL_TELEMETRY = 'devices/+/telemetry/#';

/** Ten entries of one template, as a role would give a device. */
const TEMPLATE = [
  'sub:devices/{id}/commands/+',
  'sub:devices/{id}/config/#',
  'sub:devices/{id}/firmware/+/chunks',
  'sub:fleet/announcements/#',
  'pub;qos=1:devices/{id}/status',
  'pub;retain=0:devices/{id}/events/+',
  'pub:devices/{id}/alarms/+/raised',
  'pubsub:devices/{id}/twin/#',
  'pub:devices/{id}/logs/#',
];

/** Topic scopes of a client, as many as a role has; the one that allows what it does here is the last. */
export function scopesOf(id: string, isSubscriber: boolean): readonly string[] {
  const last = isSubscriber ? `sub:${ALL_TELEMETRY}` : `pub:devices/${id}/telemetry/#`;
  return [...TEMPLATE.map((scope) => scope.replace('{id}', id)), last];
}

/** More entries than a token holds come from another issuer, by names that the broker knows. */
export const MANY = 1000;
export const MANY_PREFIX = 'many:';
export const manyIssuerOf = (issuer: string): string => `${issuer}/many`;
const PER_ALIAS = 100;

/** What each name stands for; the scopes that allow something here are the last. */
export const MANY_ALIASES: Readonly<Record<string, readonly string[]>> = Object.fromEntries(
  Array.from({ length: MANY / PER_ALIAS }, (_, alias) => [
    `alias-${alias}`,
    Array.from({ length: PER_ALIAS }, (_, i) => {
      const number = alias * PER_ALIAS + i;
      if (number === MANY - 2) return `sub:${ALL_TELEMETRY}`;
      if (number === MANY - 1) return 'pub:devices/{client_id}/telemetry/#';
      return `pubsub:sites/${number % 50}/machines/${number}/#`;
    }),
  ]),
);
