/** What the registry says of a good token: DESIGN 8; I2, I5, I8, I12. */
import {
  compileTopicRights,
  type FeedClient,
  parseScope,
  type TopicRequest,
} from '@latchkey/shared';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createAdmissions } from '../../broker-plugin/src/admission.ts';
import { createAuthorize } from '../../broker-plugin/src/authorize.ts';
import { createRightsCompiler } from '../../broker-plugin/src/rights-compiler.ts';
import { createSharedRights } from '../../broker-plugin/src/shared-rights.ts';
import type { VerifiedToken } from '../../broker-plugin/src/verify-token.ts';
import { createDrivenClock } from '../helpers/driven-clock.ts';
import { startGuardedBroker } from '../helpers/guarded-broker.ts';
import { createMemoryClients, feedClient } from '../helpers/memory-clients.ts';
import { connectPacket, publishPacket, subscribePacket } from '../helpers/mqtt-wire.ts';

const authorize = createAuthorize(new Set());

const NOW = 1_760_000_000;

test.each<{ name: string; client: FeedClient; issuedAt?: number; returnCode: number }>([
  { name: 'active', client: feedClient(), returnCode: 0 },
  { name: 'active and not allowed to mint', client: feedClient({ mayMint: false }), returnCode: 0 },
  { name: 'active without keys', client: feedClient({ keys: [] }), returnCode: 0 },
  { name: 'suspended', client: feedClient({ status: 'suspended' }), returnCode: 4 },
  { name: 'revoked', client: feedClient({ status: 'revoked' }), returnCode: 4 },
  {
    name: 'active, its token from tokensNotBefore',
    client: feedClient({ tokensNotBefore: NOW }),
    returnCode: 0,
  },
  {
    name: 'active, its token from a second before',
    client: feedClient({ tokensNotBefore: NOW + 1 }),
    returnCode: 4,
  },
])('I5: an issued token of a client that is $name: $returnCode', async (row) => {
  const clients = createMemoryClients(row.client);
  const broker = await startGuardedBroker({ options: { clients } });
  expect((await broker.connect()).connack.returnCode).toBe(row.returnCode);
});

test('before the registry is whole an issued token is enough, whoever it is of', async () => {
  const clients = createMemoryClients(feedClient({ status: 'revoked' }));
  clients.isWhole = false;
  const broker = await startGuardedBroker({ options: { clients } });
  expect((await broker.connect()).connack.returnCode).toBe(0);
  expect((await broker.connect({ clientId: 'unknown' })).connack.returnCode).toBe(0);
});

test('an issued token is good however long the registry was not heard of', async () => {
  const clients = createMemoryClients(feedClient());
  clients.freshAt = NOW - 1_000_000;
  const broker = await startGuardedBroker({ options: { clients } });
  expect((await broker.connect()).connack.returnCode).toBe(0);
});

test.each([
  { name: 'more than a minute after the token was issued', ago: 61, returnCode: 4 },
  { name: 'a minute after the token was issued', ago: 60, returnCode: 3 },
])('a client that is not registered, the authority heard of $name: $returnCode', async (row) => {
  const clients = createMemoryClients();
  const broker = await startGuardedBroker({ options: { clients } });
  const token = await broker.issuer.token({ issuedAt: NOW - row.ago, expiresAt: NOW + 900 });
  const client = await broker.wire();
  client.send(connectPacket(token));
  if (row.returnCode === 3) {
    await clients.lookedUp();
    await broker.clock.advance(1000);
  }
  expect(await client.next('connack')).toMatchObject({ returnCode: row.returnCode });
  expect(broker.log.all('connect.refused')).toMatchObject([
    { detail: expect.stringMatching(/^client: not registered/) },
  ]);
});

test.each([
  { name: 'in a change', isAll: false },
  { name: 'in a new snapshot', isAll: true },
])(
  'a client that connects before the news of its registration waits for it, $name',
  async (row) => {
    const clients = createMemoryClients();
    const broker = await startGuardedBroker({ options: { clients } });
    const token = await broker.issuer.token();
    const client = await broker.wire();
    client.send(connectPacket(token));
    await clients.lookedUp();
    clients.put(feedClient({ id: 'somebody-else' }));
    expect(client.packets).toEqual([]);
    if (row.isAll) clients.replaceAll(feedClient());
    else clients.put(feedClient());
    expect(await client.next('connack')).toMatchObject({ returnCode: 0 });
  },
);

test('I2: what comes while a client waits is not its registration, but its revocation', async () => {
  const clients = createMemoryClients();
  const broker = await startGuardedBroker({ options: { clients } });
  const client = await broker.wire();
  client.send(connectPacket(await broker.issuer.token()));
  await clients.lookedUp();
  clients.put(feedClient({ status: 'revoked' }));
  expect(await client.next('connack')).toMatchObject({ returnCode: 4 });
});

test('I11: no more than a thousand clients wait, the others are told to come again', async () => {
  const clients = createMemoryClients();
  const clock = createDrivenClock();
  const { admit } = createAdmissions({
    ...{
      issuer: 'https://id.example' as never,
      clients,
      clock,
      rightsOf: createSharedRights(1, createRightsCompiler(100)),
    },
    maxStalenessSeconds: 3600,
  });
  const token = { issuer: 'https://id.example', clientId: 't-42', issuedAt: NOW };
  const waiting = Promise.allSettled(
    Array.from({ length: 1000 }, () => admit(token as VerifiedToken)),
  );
  await expect(admit(token as VerifiedToken)).rejects.toMatchObject({ status: 503 });
  await clock.advance(1000);
  const answers = await waiting;
  expect(answers.every(({ status }) => status === 'rejected')).toBe(true);
});

test('I7: a token of a third party is not asked of our registry', async () => {
  const clients = createMemoryClients(feedClient({ status: 'revoked' }));
  const { admit, again } = createAdmissions({
    ...{ issuer: 'https://id.example' as never, clients, clock: createDrivenClock() },
    ...{ rightsOf: createSharedRights(1, createRightsCompiler(100)), maxStalenessSeconds: 3600 },
  });
  const token = { thirdParty: 'logto', issuer: 'https://logto.example', clientId: 't-42' };
  expect(await admit(token as VerifiedToken)).toBe(token);
  expect(again(token as VerifiedToken)).toBe(token);
  expect(clients.lookUps).toBe(0);
});

test('I8: what the token allows and the registry does not is refused, and named', async () => {
  const clients = createMemoryClients(
    feedClient({ scope: 'pub;qos=0:devices/t-42/a sub:devices/t-42/+' }),
  );
  const broker = await startGuardedBroker({ options: { clients } });
  const heard = await broker.heard();
  const client = await broker.connect({ scope: 'pubsub:devices/#' });
  client.send(subscribePacket({ 'devices/t-42/x': 1, 'devices/#': 0, 'devices/t-43/x': 0, x: 0 }));
  expect(await client.next('suback')).toMatchObject({ granted: [1, 128, 128, 128] });
  client.send(publishPacket('devices/t-42/a', 0), publishPacket('devices/t-42/a', 1));
  await client.closed;
  expect(heard.filter((topic) => !topic.startsWith('$'))).toEqual(['devices/t-42/a']);
  expect(broker.log.all('subscribe.refused')).toMatchObject([
    {
      topic: 'devices/#',
      reason: 'not-in-registry',
      detail: expect.stringMatching(/^the token allows it, the registry does not/),
      nearest: 'sub:devices/t-42/+',
    },
    { topic: 'devices/t-43/x', reason: 'not-in-registry' },
    { topic: 'x', reason: 'no-scope', nearest: 'pubsub:devices/#' },
  ]);
  expect(broker.log.all('publish.refused')).toMatchObject([
    { reason: 'not-in-registry', nearest: 'pub;qos=0:devices/t-42/a' },
  ]);
});

test('I12: explain gives the same answers, for a token and for who is connected', async () => {
  const clients = createMemoryClients(feedClient({ scope: 'sub:devices/t-42/+' }));
  const broker = await startGuardedBroker({ options: { clients } });
  const { explain } = broker.latchkey;
  const token = await broker.issuer.token({ scope: 'sub:devices/#' });
  await broker.connect(token);
  for (const subject of [{ token }, { clientId: 't-42' }]) {
    const ask = (topic: string) => explain({ ...subject, action: 'subscribe', topic });
    expect(await ask('devices/t-42/x')).toMatchObject({ allowed: true, scope: 'sub:devices/#' });
    expect(await ask('devices/x')).toMatchObject({ allowed: false, reason: 'not-in-registry' });
    expect(await ask('x')).toMatchObject({ allowed: false, reason: 'no-scope' });
  }
  clients.put(feedClient({ status: 'revoked' }));
  const request = { token, action: 'subscribe', topic: 'devices/t-42/x' } as const;
  expect(await explain(request)).toMatchObject({
    allowed: false,
    reason: 'invalid_token',
    detail: 'client: revoked',
  });
});

test('I8: a will that the registry does not give is refused at CONNECT', async () => {
  const clients = createMemoryClients(feedClient({ scope: 'pub:a' }));
  const broker = await startGuardedBroker({ options: { clients } });
  const will = (topic: string) =>
    ({ topic, payload: Buffer.from(''), qos: 0, retain: false }) as const;
  const token = { scope: 'pub:a pub:b' };
  expect((await broker.connect(token, { will: will('a') })).connack.returnCode).toBe(0);
  expect((await broker.connect(token, { will: will('b') })).connack.returnCode).toBe(5);
});

test.each(['', 'orders:read', 'pub;mode=x:a', 'pub:a/#/b'])(
  'I2: a registry that gives %j gives nothing',
  async (scope) => {
    const clients = createMemoryClients(feedClient({ scope }));
    const broker = await startGuardedBroker({ options: { clients } });
    const client = await broker.connect();
    client.send(subscribePacket({ 'devices/t-42/x': 0 }));
    expect(await client.next('suback')).toMatchObject({ granted: [128] });
  },
);

const level = fc.constantFrom('a', 'b', '+');
const filter = fc
  .tuple(fc.array(level, { minLength: 1, maxLength: 3 }), fc.boolean())
  .map(([levels, hasHash]) => [...levels, ...(hasHash ? ['#'] : [])].join('/'));
const scopeValue = fc
  .record({
    action: fc.constantFrom('pub', 'sub', 'pubsub'),
    options: fc.constantFrom('', ';qos=0', ';qos=1', ';retain=0', ';qos=1;retain=0'),
    filter,
  })
  .filter(({ action, options }) => action !== 'sub' || !options.includes('retain'))
  .map(({ action, options, filter: topic }) => `${action}${options}:${topic}`);
const scopeText = fc.array(scopeValue, { maxLength: 4 }).map((values) => values.join(' '));
const request: fc.Arbitrary<TopicRequest> = fc
  .record({
    action: fc.constantFrom('publish', 'subscribe', 'receive'),
    topic: fc.oneof(
      filter,
      fc
        .array(fc.constantFrom('a', 'b'), { minLength: 1, maxLength: 4 })
        .map((all) => all.join('/')),
    ),
    qos: fc.constantFrom(0, 1, 2),
    retain: fc.boolean(),
  })
  .map((one) => one as TopicRequest);

const rightsOf = (scope: string) => compileTopicRights(parseScope(scope).topicScopes);

test('I8: nothing is ever allowed outside the token or outside the registry, and all that both allow is', () => {
  fc.assert(
    fc.property(
      scopeText,
      scopeText,
      fc.array(request, { minLength: 1, maxLength: 20 }),
      (mine, theirs, requests) => {
        const token = {
          ...{ issuer: 'https://id.example', clientId: 't-42', issuedAt: NOW, expiresAt: NOW + 60 },
          rights: rightsOf(mine),
        } as unknown as VerifiedToken;
        const registry = rightsOf(theirs);
        const { again } = createAdmissions({
          ...{ issuer: 'https://id.example' as never, clock: createDrivenClock(NOW) },
          clients: createMemoryClients(feedClient({ scope: theirs })),
          ...{ rightsOf: createSharedRights(2, createRightsCompiler(100)), maxStalenessSeconds: 1 },
        });
        const context = again(token);
        const open = { ...token, rights: registry };
        for (const one of requests) {
          const isAllowed = authorize(context, one, NOW).allowed;
          const isBoth = authorize(token, one, NOW).allowed && authorize(open, one, NOW).allowed;
          expect(isAllowed).toBe(isBoth);
        }
      },
    ),
    { numRuns: 1000 },
  );
});
