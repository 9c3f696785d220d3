/**
 * A fleet as a factory hands it over: a CSV of devices with keys that are points of prime order.
 *
 * @module
 */
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { deviceId } from './messages.ts';

/** 32 bytes in base64url. */
export function newPublicKey(): string {
  const { publicKey } = generateKeyPairSync('ed25519', {
    publicKeyEncoding: { type: 'spki', format: 'der' },
    privateKeyEncoding: { type: 'pkcs8', format: 'der' },
  });
  return publicKey.subarray(-32).toString('base64url');
}

export const HEADER = 'client_id,public_key,roles,label.site';

export function newFleet(count: number): readonly string[] {
  return Array.from(
    { length: count },
    (_, i) => `${deviceId(i)},${newPublicKey()},thermostat,site-${i % 100}`,
  );
}

/** What can be wrong with a line, each in its own way. */
const FAULTS: readonly ((i: number) => string)[] = [
  (i) => `not an id ${i},,,`,
  (i) => `bad-${i},${'00'.repeat(32)},,`,
  (i) => `bad-${i},no key,,`,
  (i) => `bad-${i},,nobody,`,
  (i) => `bad-${i},,,a/b`,
];

export const badLine = (i: number): string =>
  (FAULTS[i % FAULTS.length] as (i: number) => string)(i);

export function writeFleet(path: string, lines: readonly string[]): void {
  writeFileSync(path, `${HEADER}\n${lines.join('\n')}\n`);
}
