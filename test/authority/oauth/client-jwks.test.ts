/** `GET /clients/{id}/jwks`: the keys of clients that may mint, and of nobody else. */
import { generateKey, parseClientId } from '@latchkey/shared';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { expect, test } from 'vitest';
import { signedJwt } from '../../helpers/jwts.ts';
import { openTestAuthority, type TestAuthority } from '../../helpers/test-authority.ts';

const ID = parseClientId('t-42');

async function setup(mayMint = true) {
  const authority = await openTestAuthority();
  const key = generateKey();
  await authority.registry.createClient({
    id: ID,
    kind: 'device',
    roles: [],
    labels: new Map(),
    key: key.publicKey,
    mayMint,
  });
  return { authority, key };
}

async function keysOf({ authority }: TestAuthority, id: string) {
  const response = await authority.app.inject(`/clients/${encodeURIComponent(id)}/jwks`);
  expect(response.statusCode).toBe(200);
  expect(response.headers).toMatchObject({
    'cache-control': 'public, max-age=60',
    'content-type': 'application/json; charset=utf-8',
  });
  return response.json() as { keys: Record<string, unknown>[] };
}

test('verifies a token that the client minted, with any JOSE library', async () => {
  const { authority, key } = await setup();
  const { kid, jwk } = key.publicKey;
  const set = await keysOf(authority, ID);
  expect(set).toEqual({ keys: [{ ...jwk, kid, use: 'sig', alg: 'EdDSA' }] });
  const now = authority.clock.now();
  const issuer = `${authority.issuer}/clients/${ID}`;
  const minted = signedJwt(
    { alg: 'EdDSA', typ: 'at+jwt', kid },
    { iss: issuer, sub: ID, client_id: ID, aud: 'mqtts://b', iat: now, exp: now + 60 },
    key,
  );
  const { payload } = await jwtVerify(minted, createLocalJWKSet(set as never), {
    issuer,
    audience: 'mqtts://b',
    typ: 'at+jwt',
    currentDate: new Date(now * 1000),
  });
  expect(payload.sub).toBe(ID);
});

test('has each key in the time that it is valid, and no other', async () => {
  const { authority, key } = await setup();
  const now = authority.clock.now();
  const [next, old] = [generateKey().publicKey, generateKey().publicKey];
  await authority.registry.addClientKey(ID, { key: next, notBefore: now + 10 });
  await authority.registry.addClientKey(ID, { key: old, expiresAt: now + 10 });
  const kids = async () => (await keysOf(authority, ID)).keys.map(({ kid }) => kid).sort();
  authority.clock.set(now + 9);
  expect(await kids()).toEqual([key.publicKey.kid, old.kid].sort());
  authority.clock.set(now + 10);
  expect(await kids()).toEqual([key.publicKey.kid, next.kid].sort());
});

test.each<{ name: string; id: string; change?: (authority: TestAuthority) => Promise<unknown> }>([
  { name: 'an unknown client', id: 'nobody' },
  { name: 'what cannot be a client id', id: '../../etc/passwd' },
  { name: 'a client that may not mint', id: 'operator' },
  {
    name: 'a suspended client',
    id: ID,
    change: ({ registry }) => registry.setClientStatus(ID, 'suspended'),
  },
  {
    name: 'a revoked client',
    id: ID,
    change: ({ registry }) => registry.setClientStatus(ID, 'revoked'),
  },
  { name: 'a deleted client', id: ID, change: ({ registry }) => registry.deleteClient(ID) },
])('$name has an empty set', async ({ id, change }) => {
  const { authority } = await setup();
  await change?.(authority);
  expect(await keysOf(authority, id)).toEqual({ keys: [] });
});
