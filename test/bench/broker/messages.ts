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
  /** Topic scopes of each client. */
  readonly entries: number;
}

export type LoadQuestion =
  | { readonly type: 'issuer'; readonly issuer: string }
  | ConnectOrder
  | HoldOrder
  | PublishOrder
  /** Waits until all sessions that are held were closed by the broker. */
  | { readonly type: 'wait-for-end' }
  /** Closes them. */
  | { readonly type: 'release' };

export interface LoadAnswer {
  readonly operations: number;
  readonly ms: number;
  /** `issuer`: the key that tokens are signed with. */
  readonly jwk?: object;
  /** When each session was closed, since the epoch. */
  readonly endedAtMs?: readonly number[];
}

export type BrokerQuestion =
  | { readonly type: 'port' }
  /** Forces a garbage collection first. */
  | { readonly type: 'memory' }
  | { readonly type: 'cpu' }
  /** Forgets the delays of the event loop so far. */
  | { readonly type: 'forget-delays' }
  | { readonly type: 'longest-delay' };

export interface BrokerAnswer {
  readonly port?: number;
  readonly rssBytes?: number;
  /** What V8 holds, and the buffers outside its heap. */
  readonly heapBytes?: number;
  readonly cpuMicroseconds?: number;
  readonly longestDelayMs?: number;
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

/**
 * Topic scopes of a client; the one that allows what it does here is the last. Above ten, the others
 * are spread over as many branches.
 */
export function scopesOf(id: string, entries: number, isSubscriber: boolean): readonly string[] {
  const last = isSubscriber ? `sub:${ALL_TELEMETRY}` : `pub:devices/${id}/telemetry/#`;
  const others = Array.from({ length: entries - 1 }, (_, i) =>
    entries <= 10 ? (TEMPLATE[i] as string).replace('{id}', id) : `pubsub:s/${i}`,
  );
  return [...others, last];
}
