/**
 * Takes the prototype off the tables of Aedes that are keyed by what a client sends.
 *
 * In Aedes 2.0.0-beta.1 they are plain objects: to a client whose id is `constructor` one exists
 * already, and closing it ends the process. Aedes 1.2 has tables without a prototype.
 *
 * Units   none.
 * Errors  none.
 * Source  GHSA-52qw-whmv-87c5, mended in Aedes 1.2 only.
 *
 * @module
 */
import type { Aedes, Client } from './aedes-types.js';

function isolate(owner: object, names: readonly string[]): void {
  for (const name of names) {
    const table: unknown = Reflect.get(owner, name);
    if (typeof table !== 'object' || table === null) continue;
    if (Object.getPrototypeOf(table) !== null) Object.setPrototypeOf(table, null);
  }
}

export function isolateBrokerTables(broker: Aedes): void {
  isolate(broker, ['clients', 'brokers']);
}

export function isolateClientTables(client: Client): void {
  isolate(client, ['subscriptions', 'duplicates']);
}
