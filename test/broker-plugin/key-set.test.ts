/** A JWK Set: which key verifies what; RFC 7517 4, RFC 8725 3.1, I9. */
import { generateKeyPairSync } from 'node:crypto';
import type { VerifyingAlgorithm } from '@latchkey/shared';
import { expect, test } from 'vitest';
import { importKeySet, type KeySet } from '../../broker-plugin/src/trust/key-set.ts';

const jwkOf = (type: string, options: object = {}) =>
  generateKeyPairSync(type as 'rsa', { modulusLength: 2048, ...options }).publicKey.export({
    format: 'jwk',
  });
const ED = jwkOf('ed25519');
const EC = jwkOf('ec', { namedCurve: 'P-256' });
const RSA = jwkOf('rsa');
const ALL: readonly VerifyingAlgorithm[] = ['EdDSA', 'Ed25519', 'ES256', 'RS256', 'PS256'];

function imported(
  keys: readonly object[],
  algorithms = ALL,
  known: KeySet = new Map(),
): { keys: KeySet; ignored: string[] } {
  const ignored: string[] = [];
  const body = JSON.stringify({ keys });
  const onIgnored = (detail: string) => void ignored.push(detail);
  const set = importKeySet(body, { url: 'https://x/jwks', algorithms, known, onIgnored });
  return { keys: set, ignored };
}
/** With a good neighbour, since a set without any key is refused as a whole. */
const beside = (jwk: object, algorithms?: readonly VerifyingAlgorithm[]) =>
  imported(
    [
      { ...jwk, kid: 'k' },
      { ...ED, kid: 'good' },
    ],
    algorithms,
  );

test.each<{ name: string; jwk: object; allowed: VerifyingAlgorithm[]; alg: VerifyingAlgorithm }>([
  { name: 'Ed25519', jwk: ED, allowed: ['EdDSA'], alg: 'EdDSA' },
  {
    name: 'Ed25519 by its newer name',
    jwk: { ...ED, alg: 'Ed25519' },
    allowed: ['EdDSA'],
    alg: 'EdDSA',
  },
  { name: 'P-256', jwk: EC, allowed: ['ES256'], alg: 'ES256' },
  { name: 'RSA where RS256 alone is allowed', jwk: RSA, allowed: ['RS256'], alg: 'RS256' },
  { name: 'RSA where PS256 alone is allowed', jwk: RSA, allowed: ['PS256'], alg: 'PS256' },
  {
    name: 'RSA that says RS256',
    jwk: { ...RSA, alg: 'RS256' },
    allowed: ['PS256', 'RS256'],
    alg: 'RS256',
  },
  {
    name: 'RSA that says PS256',
    jwk: { ...RSA, alg: 'PS256' },
    allowed: ['RS256', 'PS256'],
    alg: 'PS256',
  },
  { name: 'use sig', jwk: { ...EC, use: 'sig' }, allowed: ['ES256'], alg: 'ES256' },
  { name: 'key_ops verify', jwk: { ...EC, key_ops: ['verify'] }, allowed: ['ES256'], alg: 'ES256' },
])('$name is a key for $alg', ({ jwk, allowed, alg }) => {
  const { keys, ignored } = imported([{ ...jwk, kid: 'k' }], allowed);
  expect(keys.get('k')?.alg).toBe(alg);
  expect(ignored).toEqual([]);
});

test.each<{ name: string; jwk: object; allowed?: VerifyingAlgorithm[]; isTold: boolean }>([
  { name: 'RSA without alg where both are allowed', jwk: RSA, isTold: true },
  {
    name: 'RSA of 1024 bits',
    jwk: { ...jwkOf('rsa', { modulusLength: 1024 }), alg: 'RS256' },
    isTold: true,
  },
  { name: 'RSA with its private exponent', jwk: { ...RSA, alg: 'RS256', d: 'AQAB' }, isTold: true },
  { name: 'RSA with a prime', jwk: { ...RSA, alg: 'RS256', p: 'AQAB' }, isTold: true },
  { name: 'EC with its private half', jwk: { ...EC, d: EC.x }, isTold: true },
  { name: 'an Ed25519 key of small order', jwk: { ...ED, x: 'A'.repeat(43) }, isTold: true },
  { name: 'use enc', jwk: { ...EC, use: 'enc' }, isTold: false },
  { name: 'key_ops sign', jwk: { ...EC, key_ops: ['sign'] }, isTold: false },
  { name: 'key_ops that is no list', jwk: { ...EC, key_ops: 'verify' }, isTold: false },
  { name: 'an alg that is not allowed', jwk: { ...RSA, alg: 'RS512' }, isTold: false },
  { name: 'the alg of another kind of key', jwk: { ...RSA, alg: 'ES256' }, isTold: false },
  { name: 'alg none', jwk: { ...RSA, alg: 'none' }, isTold: false },
  { name: 'an alg that is no text', jwk: { ...RSA, alg: 5 }, isTold: false },
  { name: 'another curve', jwk: jwkOf('ec', { namedCurve: 'P-521' }), isTold: false },
  { name: 'a secret', jwk: { kty: 'oct', k: 'AAAA', alg: 'HS256' }, isTold: false },
  { name: 'a kind of key that nobody allowed', jwk: EC, allowed: ['EdDSA'], isTold: false },
])('I9: $name verifies nothing, and its good neighbour does', ({ jwk, allowed, isTold }) => {
  const { keys, ignored } = beside(jwk, allowed);
  expect([...keys.keys()]).toEqual(['good']);
  expect(ignored).toHaveLength(isTold ? 1 : 0);
});

test.each([
  { name: 'no key for what is allowed', body: JSON.stringify({ keys: [RSA] }) },
  { name: 'no keys', body: '{"keys":[]}' },
  { name: 'no set', body: '[]' },
  { name: 'a kid that is no text', body: JSON.stringify({ keys: [{ ...ED, kid: 1 }] }) },
])('a set with $name is refused as a whole', ({ body }) => {
  const options = { url: 'https://x/jwks', known: new Map(), onIgnored: () => undefined };
  expect(() => importKeySet(body, { ...options, algorithms: ['EdDSA'] })).toThrow(
    expect.objectContaining({ name: 'UnreachableError' }),
  );
});

test('of two keys by one name the first stays', () => {
  const { keys } = imported([
    { ...ED, kid: 'k' },
    { ...EC, kid: 'k' },
  ]);
  expect(keys.get('k')?.alg).toBe('EdDSA');
  expect(keys.size).toBe(1);
});

test('a key that stayed is the same object, one whose name moved to another key is not', () => {
  const before = imported([{ ...EC, kid: 'k' }]).keys;
  expect(imported([{ ...EC, kid: 'k' }], ALL, before).keys.get('k')).toBe(before.get('k'));
  const other = jwkOf('ec', { namedCurve: 'P-256' });
  expect(imported([{ ...other, kid: 'k' }], ALL, before).keys.get('k')?.kid).not.toBe(
    before.get('k')?.kid,
  );
});
