/**
 * What we use of Aedes 1.2 and 2, their typed surface and the parts they do not type, in one place.
 *
 * Units   none.
 * Errors  `TypeError` from `assertSupported`.
 * Source  Aedes 1.2.0 and 2.0.0-beta.1 `aedes.js`, `lib/client.js`, `types/`; aedes-persistence 10.3
 *         and 11 `asyncPersistence.js`.
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
/** Without a message id, Aedes writes no SUBACK. */
export interface SubscribePacket {
  messageId?: number | undefined;
  subscriptions: Subscription[];
}
export type ForwardPacket = Parameters<Hook<'authorizeForward'>>[1];

/** A message or PUBREL in the queue of a stored session. */
export interface QueuedPacket {
  readonly messageId?: number;
}

export interface QueueingSubscription {
  readonly clientId: string;
  readonly qos: number;
}

export interface StoredClient {
  readonly id: string;
}

/** The part of a persistence that holds sessions; every implementation has it. */
export interface Persistence {
  subscriptionsByClient(client: StoredClient): Promise<readonly Subscription[]>;
  addSubscriptions(client: StoredClient, subscriptions: readonly Subscription[]): Promise<unknown>;
  removeSubscriptions(client: StoredClient, topics: readonly string[]): Promise<unknown>;
  cleanSubscriptions(client: StoredClient): Promise<unknown>;
  outgoingEnqueue(subscription: QueueingSubscription, packet: object): Promise<unknown>;
  outgoingEnqueueCombi(
    subscriptions: readonly QueueingSubscription[],
    packet: object,
  ): Promise<unknown>;
  /** What is queued for a client, whether it was sent already or not. */
  outgoingStream(client: StoredClient): AsyncIterable<QueuedPacket>;
  outgoingUpdate(client: StoredClient, packet: QueuedPacket): Promise<unknown>;
  outgoingClearMessageId(
    client: StoredClient,
    packet: Pick<QueuedPacket, 'messageId'>,
  ): Promise<unknown>;
  /** Ends what a client began with QoS 2; not every implementation can. */
  cleanIncoming?(client: StoredClient): Promise<unknown>;
  incomingStorePacket(client: StoredClient, packet: PublishPacket): Promise<unknown>;
  /** Rejects when there is none. */
  incomingGetPacket(
    client: StoredClient,
    packet: { readonly messageId: number },
  ): Promise<PublishPacket>;
  incomingDelPacket(
    client: StoredClient,
    packet: { readonly messageId?: number | undefined },
  ): Promise<unknown>;
  /** For whom a message on that topic is queued. */
  subscriptionsByTopic(topic: string): Promise<readonly QueueingSubscription[]>;
  delWill(will: { readonly id: string; readonly brokerId: string }): Promise<unknown>;
}

/** The protocol level of MQTT 5. */
export const MQTT_5 = 5;

/** Whether the client speaks MQTT 5: it has reason codes and hears why it is disconnected. */
export const isMqtt5 = ({ version }: Client): boolean => version === MQTT_5;

/** Whether the broker speaks MQTT 5. */
export const canMqtt5 = (broker: Aedes): boolean => 'topicAliasMaximum' in broker;

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

/** Whether the broker has a connection with that MQTT client id in its table. */
export function isConnectedTo(broker: Aedes, id: string): boolean {
  const { clients } = broker as unknown as { clients: Readonly<Record<string, Client>> };
  return clients[id] !== undefined;
}

/** `undefined` until the broker is started. */
export function persistenceOf(broker: Aedes): Persistence {
  return (broker as unknown as { persistence: Persistence }).persistence;
}

const BROKER_METHODS = [
  'preConnect',
  'authenticate',
  'authorizePublish',
  'authorizeSubscribe',
  'authorizeForward',
  'publish',
  'handle',
  'prependListener',
];
const PERSISTENCE_METHODS = [
  'subscriptionsByClient',
  'addSubscriptions',
  'removeSubscriptions',
  'cleanSubscriptions',
  'outgoingEnqueue',
  'outgoingEnqueueCombi',
  'outgoingStream',
  'outgoingUpdate',
  'outgoingClearMessageId',
  'incomingStorePacket',
  'incomingGetPacket',
  'incomingDelPacket',
  'delWill',
];

/** The name of the first method that is not there. */
function missing(target: object | undefined, names: readonly string[]): string | undefined {
  return names.find((name) => typeof Reflect.get(target ?? {}, name) !== 'function');
}

/**
 * Refuses a broker that lacks what this is built on. Versions are told apart by what they can do:
 * whoever bounds topic levels (Aedes from 1.1.1 on) has the hooks and the promises of a persistence
 * as they are used here.
 */
export function assertSupported(broker: Aedes): void {
  const { maxTopicLevels } = broker as unknown as { maxTopicLevels?: unknown };
  const lacking =
    missing(broker, BROKER_METHODS) ??
    (Number.isInteger(maxTopicLevels) ? undefined : 'maxTopicLevels');
  if (lacking !== undefined) {
    throw new TypeError(`install needs a broker of Aedes 1.2 or 2: this one has no ${lacking}`);
  }
  const persistence = persistenceOf(broker);
  if (persistence === undefined) {
    throw new TypeError('install needs a started broker: await Aedes.createBroker() first');
  }
  const unknown = missing(persistence, PERSISTENCE_METHODS);
  if (unknown !== undefined) {
    throw new TypeError(`install needs a persistence of Aedes: this one has no ${unknown}`);
  }
}
