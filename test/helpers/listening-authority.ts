/**
 * A real authority on a port of 127.0.0.1, at the time of this machine, with a shop that may read
 * orders, the resource server of the orders, and a thermostat: what client libraries are tried against.
 *
 * @module
 */
import type { webcrypto } from 'node:crypto';
import { parseClientId, systemClock } from '@latchkey/shared';
import { createDrivenClock } from './driven-clock.ts';
import { addService, type TestService } from './oauth-requests.ts';
import { freePort } from './processes.ts';
import {
  addDevice,
  addThermostatRole,
  openTestAuthority,
  type TestAuthority,
  type TestDevice,
} from './test-authority.ts';

export const ORDERS = 'https://orders.example';

export interface ListeningAuthority {
  readonly authority: TestAuthority;
  /** May do `orders:read` and `orders:write`. */
  readonly shop: TestService;
  /** May introspect tokens for the orders. */
  readonly orders: TestService;
  readonly device: TestDevice;
}

/** `path` is that of the issuer, such as `/tenant`. */
export async function startAuthority(path = ''): Promise<ListeningAuthority> {
  const port = await freePort();
  const clock = createDrivenClock(systemClock.now());
  const authority = await openTestAuthority({ issuer: `http://127.0.0.1:${port}${path}`, clock });
  await addThermostatRole(authority);
  await authority.api('POST', '/resources', { identifier: ORDERS, kind: 'http' });
  for (const name of ['orders:read', 'orders:write', 'orders:introspect']) {
    await authority.api('POST', '/permissions', { name, resource: ORDERS });
  }
  const buyer = ['orders:read', 'orders:write'];
  await authority.api('POST', '/roles', { name: 'buyer', permissions: buyer });
  await authority.api('POST', '/roles', { name: 'seller', permissions: ['orders:introspect'] });
  const shop = await addService(authority, 'shop', { roles: ['buyer'] });
  const orders = await addService(authority, 'orders', { roles: ['seller'] });
  const device = await addDevice(authority);
  await authority.registry.patchClient(parseClientId('t-42'), { mayMint: true });
  await authority.authority.listen({ host: '127.0.0.1', port });
  return { authority, shop, orders, device };
}

/** A private key as the Web Cryptography API knows it. */
export async function webKey({ keyObject }: TestService['key']): Promise<webcrypto.CryptoKey> {
  const der = keyObject.export({ type: 'pkcs8', format: 'der' });
  return crypto.subtle.importKey('pkcs8', der, 'Ed25519', false, ['sign']);
}
