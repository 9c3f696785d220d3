/**
 * What `latchkey-broker` uses of a persistence of Aedes beyond handing it to the broker.
 *
 * Units   none.
 * Errors  none.
 * Source  aedes-persistence 10 and 11, `callBackPersistence.js`: without a callback each method
 *         answers with a promise.
 *
 * @module
 */
import type { Readable } from 'node:stream';

export interface StoredFilter {
  readonly topic: string;
  readonly qos: number;
}

export interface OfflineSubscription extends StoredFilter {
  readonly clientId: string;
}

interface ClientRef {
  readonly id: string;
}

interface PacketRef {
  readonly messageId: number;
}

export interface AedesPersistence {
  setup(broker: { readonly id: string }): Promise<void>;
  addSubscriptions(client: ClientRef, filters: readonly StoredFilter[]): Promise<unknown>;
  removeSubscriptions(client: ClientRef, topics: readonly string[]): Promise<unknown>;
  cleanSubscriptions(client: ClientRef): Promise<unknown>;
  subscriptionsByClient(client: ClientRef): Promise<readonly StoredFilter[]>;
  /** For whom a message on that topic is queued. */
  subscriptionsByTopic(topic: string): Promise<readonly OfflineSubscription[]>;
  incomingStorePacket(client: ClientRef, packet: PacketRef): Promise<unknown>;
  incomingGetPacket(client: ClientRef, packet: PacketRef): Promise<unknown>;
  incomingDelPacket(client: ClientRef, packet: PacketRef): Promise<unknown>;
  /** Missing where the package does not have it. */
  cleanIncoming?: ((client: ClientRef) => Promise<unknown>) | undefined;
  createRetainedStreamCombi(filters: readonly string[]): Readable;
  delWill(will: { readonly id: string; readonly brokerId?: string }): Promise<unknown>;
  destroy(): Promise<unknown>;
}

/** A persistence that is open, and what the program wants from it. */
export interface OpenPersistence {
  /** For `Aedes.createBroker`; `undefined`: its own, in memory. */
  readonly persistence: AedesPersistence | undefined;
  /** Whether it answers. */
  isReady(): boolean;
  /** Writes down what is left and lets go; call it when the broker is closed. */
  close(): Promise<void>;
}
