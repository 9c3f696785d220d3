/** Tokens that a device signs itself: DESIGN 3, 8; I5, I8; STANDARDS 6, group 14. */
import { type FeedClient, generateKey, type Issuer, parseResourceId } from '@latchkey/shared';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type GuardedBroker, startGuardedBroker } from '../helpers/guarded-broker.ts';
import type { TokenRequest } from '../helpers/issuer-server.ts';
import {
  createMemoryClients,
  DEVICE_KEY,
  feedClient,
  feedKey,
  type MemoryClients,
} from '../helpers/memory-clients.ts';
import { publishPacket } from '../helpers/mqtt-wire.ts';

const NOW = 1_760_000_000;
const OTHER_KEY = generateKey();

type Minted = GuardedBroker & {
  readonly clients: MemoryClients;
  /** A token that `t-42` minted. */
  mint(request?: TokenRequest & { readonly iss?: string }): Promise<string>;
};

async function startMinting(...known: readonly FeedClient[]): Promise<Minted> {
  const clients = createMemoryClients(...(known.length > 0 ? known : [feedClient()]));
  const broker = await startGuardedBroker({ options: { clients } });
  return Object.assign(broker, {
    clients,
    mint: ({ iss = 't-42', ...request }: TokenRequest & { readonly iss?: string } = {}) =>
      broker.issuer.token({
        issuer: `${broker.issuer.issuer}/clients/${iss}` as Issuer,
        key: DEVICE_KEY,
        ...request,
      }),
  });
}

test('a minted token opens a session with its rights', async () => {
  const broker = await startMinting();
  const heard = await broker.heard();
  const client = await broker.connect(await broker.mint());
  expect(client.connack.returnCode).toBe(0);
  client.send(publishPacket('devices/t-42/x', 1));
  await client.next('puback');
  expect(heard).toContain('devices/t-42/x');
});

const at = (times: Partial<ReturnType<typeof feedKey>>) =>
  feedClient({ keys: [feedKey(DEVICE_KEY, times)] });

test.each<{
  name: string;
  client?: FeedClient;
  token?: TokenRequest & { readonly iss?: string };
  detail?: RegExp;
}>([
  { name: 'the key is from this second on', client: at({ notBefore: NOW }) },
  {
    name: 'the key is from the next second on',
    client: at({ notBefore: NOW + 1 }),
    detail: /^key:/,
  },
  { name: 'the key is good until the next second', client: at({ expiresAt: NOW + 1 }) },
  { name: 'the key ended this second', client: at({ expiresAt: NOW }), detail: /^key:/ },
  {
    name: 'the second of two keys',
    client: feedClient({ keys: [feedKey(OTHER_KEY), feedKey(DEVICE_KEY)] }),
  },
  { name: 'a key it does not have', token: { key: OTHER_KEY }, detail: /^key:/ },
  { name: 'no key at all', client: feedClient({ keys: [] }), detail: /^key:/ },
  { name: 'it may not mint', client: feedClient({ mayMint: false }), detail: /^key:/ },
  { name: 'it is suspended', client: feedClient({ status: 'suspended' }), detail: /^key:/ },
  { name: 'it is revoked', client: feedClient({ status: 'revoked' }), detail: /^key:/ },
  { name: 'it is not registered', client: feedClient({ id: 't-43' }), detail: /^key:/ },
  { name: 'issued at tokensNotBefore', client: feedClient({ tokensNotBefore: NOW }) },
  {
    name: 'issued one second before',
    client: feedClient({ tokensNotBefore: NOW + 1 }),
    detail: /^not-before:/,
  },
  {
    name: 'minted as another client',
    token: { iss: 't-43' },
    client: feedClient({ id: 't-43' }),
    detail: /^claim: client_id/,
  },
  { name: 'an issuer that is no client id', token: { iss: '../t-42' }, detail: /^issuer:/ },
  { name: 'an issuer that goes on', token: { iss: 't-42/clients/t-42' }, detail: /^issuer:/ },
  { name: 'an issuer without client id', token: { iss: '' }, detail: /^issuer:/ },
  { name: 'a lifetime of a day', token: { expiresAt: NOW + 86_400, issuedAt: NOW } },
  { name: 'an expired token', token: { issuedAt: NOW - 60, expiresAt: NOW }, detail: /^expired:/ },
  { name: 'a clock a minute ahead', token: { issuedAt: NOW + 60, expiresAt: NOW + 120 } },
  {
    name: 'a clock 61 s ahead',
    token: { issuedAt: NOW + 61, expiresAt: NOW + 120 },
    detail: /^not-yet-valid:/,
  },
])('I2, I8: minted, $name: $detail', async ({ client, token, detail }) => {
  const broker = await startMinting(client ?? feedClient());
  const { connack } = await broker.connect(await broker.mint(token));
  expect(connack.returnCode).toBe(detail === undefined ? 0 : 4);
  const refusals = broker.log.all('connect.refused');
  if (detail === undefined) expect(refusals).toEqual([]);
  else {
    expect(refusals).toMatchObject([
      { reason: 'invalid_token', detail: expect.stringMatching(detail) },
    ]);
  }
});

test('a minted token for another resource is a good token that is of no use here', async () => {
  const broker = await startMinting();
  const audience = parseResourceId('mqtts://other.example');
  const { connack } = await broker.connect(await broker.mint({ audience }));
  expect(connack.returnCode).toBe(5);
});

test('without a trust feed nobody can mint', async () => {
  const broker = await startGuardedBroker();
  const issuer = `${broker.issuer.issuer}/clients/t-42` as Issuer;
  const { connack } = await broker.connect({ issuer, key: DEVICE_KEY });
  expect(connack.returnCode).toBe(4);
});

test('the key of the authority mints for nobody, the key of a client issues nothing', async () => {
  const broker = await startMinting();
  const minted = await broker.mint({ key: broker.issuer.key });
  expect((await broker.connect(minted)).connack.returnCode).toBe(4);
  expect((await broker.connect({ key: DEVICE_KEY })).connack.returnCode).toBe(4);
});

test.each([
  { name: 'heard of an hour ago', freshAt: NOW - 3600, isWhole: true, returnCode: 0 },
  { name: 'heard of a second longer ago', freshAt: NOW - 3601, isWhole: true, returnCode: 3 },
  { name: 'never heard of', freshAt: undefined, isWhole: true, returnCode: 3 },
  { name: 'not whole yet', freshAt: NOW, isWhole: false, returnCode: 3 },
  { name: 'heard of before a clock was set', freshAt: NOW + 60, isWhole: true, returnCode: 0 },
  { name: 'heard of in the future', freshAt: NOW + 61, isWhole: true, returnCode: 3 },
])('a registry that was $name: minted $returnCode, issued 0', async (row) => {
  const broker = await startMinting();
  broker.clients.freshAt = row.freshAt;
  broker.clients.isWhole = row.isWhole;
  const minted = await broker.connect(await broker.mint());
  expect(minted.connack.returnCode).toBe(row.returnCode);
  expect((await broker.connect()).connack.returnCode).toBe(0);
});

test('I5: a token that is known is refused when the registry goes stale, and taken again later', async () => {
  const broker = await startMinting();
  const token = await broker.mint();
  expect((await broker.connect(token)).connack.returnCode).toBe(0);
  broker.clients.freshAt = NOW - 3601;
  expect((await broker.connect(token)).connack.returnCode).toBe(3);
  broker.clients.freshAt = NOW;
  expect((await broker.connect(token)).connack.returnCode).toBe(0);
});

test.each([
  { name: 'its key is removed', change: { keys: [feedKey(OTHER_KEY)] } },
  { name: 'its key ends', change: { keys: [feedKey(DEVICE_KEY, { expiresAt: NOW })] } },
  { name: 'it may not mint any more', change: { mayMint: false } },
  { name: 'it is suspended', change: { status: 'suspended' as const } },
  { name: 'it is revoked', change: { status: 'revoked' as const } },
  { name: 'it is deleted', change: { status: 'deleted' as const } },
  { name: 'its tokens are void', change: { tokensNotBefore: NOW + 1 } },
])('I5: a token that is known is refused once $name', async ({ change }) => {
  const broker = await startMinting();
  const token = await broker.mint();
  expect((await broker.connect(token)).connack.returnCode).toBe(0);
  broker.clients.put(feedClient(change));
  expect((await broker.connect(token)).connack.returnCode).toBe(4);
  broker.clients.put(feedClient());
  expect((await broker.connect(token)).connack.returnCode).toBe(0);
});

test('a session ends with the key that minted its token, if that is before exp', async () => {
  const broker = await startMinting(
    feedClient({ keys: [feedKey(DEVICE_KEY, { expiresAt: NOW + 60 })] }),
  );
  const client = await broker.connect(await broker.mint());
  expect(broker.log.all('connect.accepted')).toMatchObject([{ expiresAt: NOW + 60 }]);
  await broker.clock.advance(60_000);
  await client.closed;
  expect(broker.log.all('session.expired')).toHaveLength(1);
});

test('a renewal can be minted, and an issued session renewed by a minted token', async () => {
  const broker = await startMinting();
  const client = await broker.connect();
  const payload = await broker.mint({ ttlSeconds: 1000 });
  client.send(publishPacket('$latchkey/renew', 1, { payload, messageId: 9 }));
  await client.next('puback');
  expect(broker.log.all('session.renewed')).toMatchObject([{ expiresAt: NOW + 1000 }]);
});

test('any text behind the issuer of minted tokens is refused, not crashed on', async () => {
  const broker = await startMinting();
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 40 }), async (iss) => {
      fc.pre(iss !== 't-42');
      const token = await broker.mint({ iss });
      const explained = await broker.latchkey.explain({ token, action: 'publish', topic: 'x' });
      expect(explained).toMatchObject({ allowed: false, reason: 'invalid_token' });
    }),
    { numRuns: 200 },
  );
});
