/**
 * What we use of Aedes 1.2, its typed surface and the parts it does not type, in one place.
 *
 * Units   none.
 * Errors  `TypeError` from `assertSupported`.
 * Source  Aedes 1.2.0 `aedes.js`, `lib/client.js`, `types/`; aedes-persistence 11 `asyncPersistence.js`.
 *
 * @module
 */
import type { Aedes, Client } from 'aedes';

export type { Aedes, Client };
export type Hooks = Pick<
  Aedes,
  'preConnect' | 'authenticate' | 'authorizePublish' | 'authorizeSubscribe' | 'authorizeForward'
>;
export type HookName = keyof Hooks;
export type Hook<Name extends HookName> = Hooks[Name];
/** Makes the hook that Aedes calls out of the one the host has. */
export type Compose<Name extends HookName> = (host: Hook<Name>) => Hook<Name>;

/** The parser sets `bridgeMode` for protocol levels from 0x80 on, and does not type it. */
export type ConnectPacket = Parameters<Hook<'preConnect'>>[1] & { readonly bridgeMode?: boolean };
export type PublishPacket = Parameters<Hook<'authorizePublish'>>[1];
export type Subscription = Parameters<Hook<'authorizeSubscribe'>>[1];
export type ForwardPacket = Parameters<Hook<'authorizeForward'>>[1];

/** The part of a persistence that holds sessions; every implementation has it. */
export interface Persistence {
  subscriptionsByClient(client: { readonly id: string }): Promise<readonly Subscription[]>;
  addSubscriptions(
    client: { readonly id: string },
    subscriptions: readonly Subscription[],
  ): Promise<unknown>;
  removeSubscriptions(client: { readonly id: string }, topics: readonly string[]): Promise<unknown>;
  delWill(will: { readonly id: string; readonly brokerId: string }): Promise<unknown>;
}

const MINIMUM_MINOR = 2;

/** The subscriptions of a connection that are live now, stored or not. */
export function liveSubscriptions(client: Client): readonly Subscription[] {
  const { subscriptions } = client as unknown as {
    subscriptions: Readonly<Record<string, Omit<Subscription, 'topic'>>>;
  };
  return Object.entries(subscriptions).map(([topic, { qos }]) => ({ topic, qos }));
}

/** Ends live subscriptions without a word to the client; Aedes takes the bare filters. */
export function unsubscribe(client: Client, topics: readonly string[]): Promise<void> {
  const filters = [...topics] as unknown as Subscription[];
  return new Promise((resolve, reject) => {
    client.unsubscribe(filters, (error) => (error ? reject(error) : resolve()));
  });
}

export function persistenceOf(broker: Aedes): Persistence {
  return (broker as unknown as { persistence: Persistence }).persistence;
}

/** Refuses everything whose inner workings were not read and tested: Aedes 1.x from 1.2 on. */
export function assertSupported(broker: Aedes): void {
  const { version } = broker as unknown as { version?: unknown };
  const match = typeof version === 'string' ? /^1\.(\d+)\./.exec(version) : null;
  if (match === null || Number(match[1]) < MINIMUM_MINOR) {
    throw new TypeError(`install needs a broker of Aedes 1.${MINIMUM_MINOR} or a later 1.x`);
  }
  if (typeof persistenceOf(broker)?.addSubscriptions !== 'function') {
    throw new TypeError('install needs a started broker: await Aedes.createBroker() first');
  }
}
