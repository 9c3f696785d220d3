/** Changes of the registry that reach sessions: I4, I5, I7; STANDARDS 5.3 (3, 8), 6, groups 20, 25, 27, 28. */
import { type FeedClient, generateKey, type Issuer } from '@latchkey/shared';
import { expect, test } from 'vitest';
import { type GuardedBroker, type Setup, startGuardedBroker } from '../helpers/guarded-broker.ts';
import type { TokenRequest } from '../helpers/issuer-server.ts';
import {
  createMemoryClients,
  DEVICE_KEY,
  feedClient,
  feedKey,
  type MemoryClients,
} from '../helpers/memory-clients.ts';
import {
  connectPacket,
  publishPacket,
  subscribePacket,
  type WireClient,
} from '../helpers/mqtt-wire.ts';

const NOW = 1_760_000_000;
const PUBLISHER = feedClient({ id: 'pub', scope: 'pub:#' });

type Registered = GuardedBroker & { readonly clients: MemoryClients };

async function start(
  setup: Omit<Setup, 'options'> = {},
  client = feedClient(),
): Promise<Registered> {
  const clients = createMemoryClients(client, PUBLISHER);
  return Object.assign(await startGuardedBroker({ ...setup, options: { clients } }), { clients });
}

const minted = (broker: GuardedBroker): TokenRequest => ({
  issuer: `${broker.issuer.issuer}/clients/t-42` as Issuer,
  key: DEVICE_KEY,
});

async function publishAll(broker: GuardedBroker, ...topics: readonly string[]): Promise<void> {
  const client = await broker.connect({ clientId: 'pub', scope: 'pub:#' });
  for (const [i, topic] of topics.entries()) {
    client.send(publishPacket(topic, 1, { messageId: i + 1 }));
    await client.next('puback');
  }
  client.send({ cmd: 'disconnect' });
  await client.closed;
}

/** Resolves when everything that the client sent before was answered. */
async function settled(client: WireClient): Promise<void> {
  client.send({ cmd: 'pingreq' });
  await client.next('pingresp');
}

/** Lets the slices of a change pass, and what they began. */
async function applied(): Promise<void> {
  for (let i = 0; i < 20; i += 1) await new Promise((resolve) => setImmediate(resolve));
}

const received = ({ packets }: WireClient) =>
  packets.flatMap((packet) => (packet.cmd === 'publish' ? [packet.topic] : []));

interface Stored {
  subscriptionsByClient(client: object): Promise<{ topic: string }[]>;
  outgoingStream(client: object): AsyncIterable<{ topic: string }>;
  incomingGetPacket(client: object, packet: object): Promise<object>;
  delWill(client: object): Promise<unknown>;
  cleanSubscriptions(client: object): Promise<unknown>;
}
const persistenceOf = (broker: GuardedBroker) =>
  (broker.aedes as unknown as { persistence: Stored }).persistence;

async function leftOf(broker: GuardedBroker, id = 't-42') {
  const persistence = persistenceOf(broker);
  const queue: string[] = [];
  for await (const { topic } of persistence.outgoingStream({ id })) queue.push(topic);
  const filters = await persistence.subscriptionsByClient({ id });
  const begun = await persistence.incomingGetPacket({ id }, { messageId: 77 }).then(
    () => true,
    () => false,
  );
  return { filters: filters.map(({ topic }) => topic).sort(), queue, begun };
}

const OTHER_KEY = feedKey(generateKey());
test.each<{ name: string; change: Partial<FeedClient>; of: 'issued' | 'minted' | 'both' | 'none' }>(
  [
    { name: 'it is revoked', change: { status: 'revoked', keys: [], scope: '' }, of: 'both' },
    { name: 'it is suspended', change: { status: 'suspended', keys: [], scope: '' }, of: 'both' },
    { name: 'it is deleted', change: { status: 'deleted', keys: [], scope: '' }, of: 'both' },
    { name: 'tokens until now are void', change: { tokensNotBefore: NOW + 1 }, of: 'both' },
    { name: 'tokens before this second are void', change: { tokensNotBefore: NOW }, of: 'none' },
    { name: 'it may not mint any more', change: { mayMint: false }, of: 'minted' },
    { name: 'its key is removed', change: { keys: [OTHER_KEY] }, of: 'minted' },
    { name: 'all its keys are removed', change: { keys: [] }, of: 'minted' },
    {
      name: 'its key ends now',
      change: { keys: [feedKey(DEVICE_KEY, { expiresAt: NOW })] },
      of: 'minted',
    },
    {
      name: 'its key ends in a second',
      change: { keys: [feedKey(DEVICE_KEY, { expiresAt: NOW + 1 })] },
      of: 'none',
    },
    { name: 'it has one more key', change: { keys: [feedKey(DEVICE_KEY), OTHER_KEY] }, of: 'none' },
    { name: 'it has more rights', change: { scope: 'pubsub:#' }, of: 'none' },
  ],
)('I5: when $name, its $of session ends at once', async ({ change, of }) => {
  for (const kind of ['issued', 'minted'] as const) {
    const broker = await start();
    const revoked: object[] = [];
    broker.latchkey.events.on('revoked', (notice) => revoked.push(notice));
    const token = await broker.issuer.token(kind === 'minted' ? minted(broker) : {});
    const client = await broker.connect(token);
    const other = await broker.connect({ clientId: 'pub', scope: 'pub:#' });
    broker.clients.put(feedClient(change));
    if (of === 'both' || of === kind) {
      await client.closed;
      expect(revoked).toEqual([{ clientId: 't-42', reason: 'revoked' }]);
      expect(broker.log.all('session.revoked')).toMatchObject([{ reason: 'revoked' }]);
      // So that a client that is not known is no newcomer.
      broker.clock.set(NOW + 61);
      broker.clients.freshAt = NOW + 61;
      expect((await broker.connect(token)).connack.returnCode).toBe(4);
    } else {
      await applied();
      await settled(client);
      expect(revoked).toEqual([]);
    }
    await settled(other);
  }
});

test('a key that ends sooner than it did ends the session then', async () => {
  const broker = await start();
  const client = await broker.connect(minted(broker));
  broker.clients.put(feedClient({ keys: [feedKey(DEVICE_KEY, { expiresAt: NOW + 30 })] }));
  await applied();
  broker.clients.put(feedClient({ keys: [feedKey(DEVICE_KEY, { expiresAt: NOW + 60 })] }));
  await applied();
  await broker.clock.advance(59_000);
  await settled(client);
  await broker.clock.advance(1_000);
  await client.closed;
  expect(broker.log.all('session.expired')).toHaveLength(1);
});

test('a client that is not there after a new snapshot is disconnected, the others stay', async () => {
  const broker = await start();
  const client = await broker.connect();
  const other = await broker.connect({ clientId: 'pub', scope: 'pub:#' });
  broker.clients.replaceAll(PUBLISHER);
  await client.closed;
  await settled(other);
});

test('when the first snapshot is whole, those who came in before are judged by it', async () => {
  const broker = await start({}, feedClient({ status: 'revoked' }));
  broker.clients.isWhole = false;
  const client = await broker.connect();
  expect(client.connack.returnCode).toBe(0);
  broker.clients.isWhole = true;
  broker.clients.replaceAll(feedClient({ status: 'revoked' }), PUBLISHER);
  await client.closed;
});

const will = (topic: string) =>
  ({ topic, payload: Buffer.from('gone'), qos: 1, retain: false }) as const;

test('I5: the will of a revoked client is not published', async () => {
  const broker = await start();
  const heard = await broker.heard();
  const client = await broker.connect({}, { will: will('devices/t-42/will') });
  broker.clients.put(feedClient({ status: 'revoked' }));
  await client.closed;
  await publishAll(broker, 'marker');
  expect(heard.filter((topic) => !topic.startsWith('$'))).toEqual(['marker']);
});

test.each([
  { name: 'still allowed', topic: 'devices/t-42/kept', isPublished: true },
  { name: 'not allowed any more', topic: 'devices/t-42/lost', isPublished: false },
])('the will of a client that lost a subscription is published when it is $name', async (row) => {
  const broker = await start();
  const heard = await broker.heard();
  const client = await broker.connect({}, { will: will(row.topic) });
  client.send(subscribePacket({ 'devices/t-42/x': 0 }));
  await client.next('suback');
  broker.clients.put(feedClient({ scope: 'pub:devices/t-42/kept' }));
  await client.closed;
  await publishAll(broker, 'marker');
  expect(heard.includes(row.topic)).toBe(row.isPublished);
});

test('trap 8: a ghost of a takeover with a slow emitter is closed by a revocation too', async () => {
  const broker = await start();
  const { mq } = broker.aedes as unknown as {
    mq: { removeListener(topic: string, listener: object, done?: () => void): void };
  };
  const remove = mq.removeListener;
  const held: (() => void)[] = [];
  const first = await broker.connect();
  first.send(subscribePacket({ 'devices/t-42/x': 0 }));
  await first.next('suback');
  mq.removeListener = (topic, listener, done) => {
    held.push(() => remove.call(mq, topic, listener, done));
  };
  // The first connection closes slowly; meanwhile two more take its place, one after the other.
  const second = await broker.wire();
  const token = await broker.issuer.token();
  second.send(connectPacket(token));
  expect(await second.next('connack')).toMatchObject({ returnCode: 0 });
  const third = await broker.wire();
  third.send(connectPacket(token));
  expect(await third.next('connack')).toMatchObject({ returnCode: 0 });
  for (const release of held.splice(0)) release();
  broker.clients.put(feedClient({ status: 'revoked' }));
  await Promise.all([first.closed, second.closed, third.closed]);
  expect((await broker.connect(token)).connack.returnCode).toBe(4);
});

test('I3, I5: a revocation between the token and CONNACK ends the connection without CONNACK', async () => {
  const broker = await start();
  const persistence = persistenceOf(broker);
  const { delWill } = persistence;
  let goOn: (() => void) | undefined;
  const isHeld = new Promise<void>((held) => {
    persistence.delWill = async (client) => {
      persistence.delWill = delWill;
      await new Promise<void>((resolve) => {
        goOn = resolve;
        held();
      });
      return delWill.call(persistence, client);
    };
  });
  const client = await broker.wire();
  client.send(connectPacket(await broker.issuer.token()));
  await isHeld;
  broker.clients.put(feedClient({ status: 'revoked' }));
  await client.closed;
  goOn?.();
  await applied();
  expect(client.packets).toEqual([]);
  expect(broker.log.all('connect.accepted')).toEqual([]);
});

test.each([
  { name: 'a revocation', change: { status: 'revoked' } as const, returnCode: 4 },
  { name: 'a change of rights', change: { scope: 'pub:devices/t-42/#' }, returnCode: 3 },
  { name: 'another key', change: { keys: [OTHER_KEY] }, returnCode: 0 },
])('I5: $name while a hook of the host decides counts: $returnCode', async (row) => {
  const held: (() => void)[] = [];
  const broker = await start({
    before: (aedes) => {
      aedes.authenticate = (_client, _username, _password, callback) => {
        held.push(() => callback(null, true));
      };
    },
  });
  const client = await broker.wire();
  client.send(connectPacket(await broker.issuer.token()));
  while (held.length === 0) await applied();
  broker.clients.put(feedClient(row.change));
  await applied();
  held[0]?.();
  expect(await client.next('connack')).toMatchObject({ returnCode: row.returnCode });
});

/** A stored session with two filters, one message in the queue and one begun with QoS 2. */
async function leaveSession(broker: GuardedBroker, isConnected: boolean): Promise<WireClient> {
  const first = await broker.connect({}, { clean: false });
  first.send(subscribePacket({ 'devices/t-42/a': 1, 'devices/t-42/b': 1 }));
  await first.next('suback');
  first.send(publishPacket('devices/t-42/begun', 2, { messageId: 77 }));
  await first.next('pubrec');
  first.stream.destroy();
  await broker.log.event('session.closed', { clientId: 't-42' });
  await publishAll(broker, 'devices/t-42/a', 'devices/t-42/b', 'devices/t-42/b');
  expect(await leftOf(broker)).toEqual({
    filters: ['devices/t-42/a', 'devices/t-42/b'],
    queue: ['devices/t-42/a', 'devices/t-42/b', 'devices/t-42/b'],
    begun: true,
  });
  if (!isConnected) return first;
  const again = await broker.connect({}, { clean: false });
  for (let i = 0; i < 3; i += 1) await again.next('publish'); // not acknowledged: they stay
  return again;
}

const NOTHING = { filters: [], queue: [], begun: false };
test.each([
  { name: 'revoked while connected', status: 'revoked', isConnected: true },
  { name: 'revoked while away', status: 'revoked', isConnected: false },
  { name: 'deleted while connected', status: 'deleted', isConnected: true },
  { name: 'deleted while away', status: 'deleted', isConnected: false },
] as const)('trap 3: nothing is left of a client that is $name', async (row) => {
  const broker = await start();
  const client = await leaveSession(broker, row.isConnected);
  broker.clients.put(feedClient({ status: row.status, scope: '', keys: [] }));
  await client.closed;
  await applied();
  expect(await leftOf(broker)).toEqual(NOTHING);
  await publishAll(broker, 'devices/t-42/a');
  expect(await leftOf(broker)).toEqual(NOTHING);
});

test.each([true, false])(
  'a suspended client gets all back (connected: %s)',
  async (isConnected) => {
    const broker = await start();
    const client = await leaveSession(broker, isConnected);
    broker.clients.put(feedClient({ status: 'suspended', scope: '', keys: [] }));
    await client.closed;
    await publishAll(broker, 'devices/t-42/a');
    broker.clients.put(feedClient());
    const again = await broker.connect({}, { clean: false });
    expect(again.connack).toMatchObject({ returnCode: 0, sessionPresent: true });
    for (let i = 0; i < 4; i += 1) await again.next('publish');
    expect((await leftOf(broker)).begun).toBe(true);
  },
);

test('I4: a lost subscription ends the connection; what is left is stored, and only that', async () => {
  const broker = await start();
  const revoked: object[] = [];
  broker.latchkey.events.on('revoked', (notice) => revoked.push(notice));
  const client = await leaveSession(broker, true);
  broker.clients.put(feedClient({ scope: 'sub:devices/t-42/a' }));
  await client.closed;
  expect(revoked).toEqual([{ clientId: 't-42', reason: 'lost-rights' }]);
  expect((await leftOf(broker)).filters).toEqual(['devices/t-42/a']);
  await publishAll(broker, 'devices/t-42/b', 'devices/t-42/a');
  const again = await broker.connect({}, { clean: false });
  expect(again.connack).toMatchObject({ returnCode: 0, sessionPresent: true });
  await again.next('publish');
  await again.next('publish');
  await settled(again);
  expect(received(again)).toEqual(['devices/t-42/a', 'devices/t-42/a']);
});

test('I4: what is stored for a client that is away is fitted to its rights at once', async () => {
  const broker = await start();
  await leaveSession(broker, false);
  broker.clients.put(feedClient({ scope: 'sub:devices/t-42/a' }));
  await applied();
  expect((await leftOf(broker)).filters).toEqual(['devices/t-42/a']);
  const again = await broker.connect({}, { clean: false });
  await again.next('publish');
  await settled(again);
  expect(received(again)).toEqual(['devices/t-42/a']);
});

test('I4: a message that waits is not delivered after the right to it is gone and back again', async () => {
  const broker = await start();
  const ear = await broker.connect();
  ear.send(subscribePacket({ 'devices/t-42/x': 0 }));
  await ear.next('suback');
  broker.clients.put(feedClient({ scope: 'pub:devices/t-42/#' }));
  broker.clients.put(feedClient());
  await publishAll(broker, 'devices/t-42/x');
  await ear.next('publish');
});

test('rights that no subscription needs are taken away within the session', async () => {
  const broker = await start();
  const client = await broker.connect();
  client.send(subscribePacket({ 'devices/t-42/x': 1 }));
  await client.next('suback');
  broker.clients.put(feedClient({ scope: 'sub:devices/t-42/x pub:devices/t-42/a' }));
  await applied();
  expect(broker.log.all('session.changed')).toMatchObject([{ endedSubscriptions: 0 }]);
  client.send(publishPacket('devices/t-42/a', 1, { messageId: 1 }));
  await client.next('puback');
  client.send(subscribePacket({ 'devices/t-42/y': 0 }));
  expect(await client.next('suback')).toMatchObject({ granted: [128] });
  client.send(publishPacket('devices/t-42/b', 1, { messageId: 2 }));
  await client.closed;
  expect(broker.log.all('publish.refused')).toMatchObject([{ reason: 'not-in-registry' }]);
});

test('rights that come back are there again within the session, as far as the token goes', async () => {
  const broker = await start({}, feedClient({ scope: '' }));
  const client = await broker.connect();
  broker.clients.put(feedClient({ scope: 'pubsub:#' }));
  await applied();
  client.send(publishPacket('devices/t-42/a', 1, { messageId: 1 }));
  await client.next('puback');
  client.send(publishPacket('devices/t-43/a', 1, { messageId: 1 }));
  await client.closed;
  expect(broker.log.all('publish.refused')).toMatchObject([{ reason: 'no-scope' }]);
});

test('I4: a filter that a slow host grants after the change ends again, stored and live', async () => {
  const granted: (() => void)[] = [];
  const broker = await start({
    before: (aedes) => {
      aedes.authorizeSubscribe = (_client, subscription, callback) => {
        granted.push(() => callback(null, subscription));
      };
    },
  });
  const client = await broker.connect({}, { clean: false });
  client.send(subscribePacket({ 'devices/t-42/x': 1 }));
  while (granted.length === 0) await applied();
  broker.clients.put(feedClient({ scope: 'pub:devices/t-42/#' }));
  await applied();
  granted[0]?.();
  await client.next('suback');
  await applied();
  expect((await leftOf(broker)).filters).toEqual([]);
  await publishAll(broker, 'devices/t-42/x');
  expect(received(client)).toEqual([]);
});

test('I2: a persistence that fails keeps nobody connected who lost a right', async () => {
  const broker = await start();
  const client = await leaveSession(broker, true);
  const persistence = persistenceOf(broker);
  persistence.subscriptionsByClient = () => Promise.reject(new Error('disk'));
  broker.clients.put(feedClient({ scope: 'sub:devices/t-42/a' }));
  await client.closed;
  expect(broker.log.all('session.failed').length).toBeGreaterThan(0);
});

test('I2: a persistence that never answers keeps nobody connected who lost a right', async () => {
  const broker = await start();
  const client = await leaveSession(broker, true);
  const persistence = persistenceOf(broker);
  persistence.subscriptionsByClient = () => new Promise(() => undefined);
  broker.clients.put(feedClient({ scope: 'sub:devices/t-42/a' }));
  await applied();
  await broker.clock.advance(5000);
  await client.closed;
});

test('a persistence that fails for one client keeps no other from being purged', async () => {
  const broker = await start();
  await leaveSession(broker, false);
  const persistence = persistenceOf(broker);
  const { cleanSubscriptions } = persistence;
  persistence.cleanSubscriptions = async (client) => {
    persistence.cleanSubscriptions = cleanSubscriptions;
    throw new Error(`disk ${JSON.stringify(client)}`);
  };
  broker.clients.put(
    feedClient({ id: 'first', status: 'deleted' }),
    feedClient({ status: 'deleted' }),
  );
  await applied();
  expect(await leftOf(broker)).toEqual(NOTHING);
  expect(broker.log.all('session.failed')).toHaveLength(1);
});

test('after close the registry is not followed any more', async () => {
  const broker = await start();
  await leaveSession(broker, false);
  await broker.latchkey.close();
  broker.clients.put(feedClient({ status: 'revoked' }));
  await applied();
  expect((await leftOf(broker)).filters).toHaveLength(2);
});

const SUCCESSOR_KEY = generateKey();
const successor = feedClient({ tokensNotBefore: NOW + 1, keys: [feedKey(SUCCESSOR_KEY)] });

/** Connects as the client that is registered now, whose tokens begin at `issuedAt`. */
async function connectLater(broker: Registered, issuedAt: number) {
  broker.clock.set(issuedAt);
  return broker.connect({ issuedAt, expiresAt: issuedAt + 900 }, { clean: false });
}

test.each([
  { name: 'the broker heard of both', changes: [feedClient({ status: 'deleted' }), successor] },
  { name: 'the broker heard of one change', changes: [successor] },
])(
  'I7: who is registered under the id of a deleted client inherits nothing: $name',
  async (row) => {
    const broker = await start();
    await leaveSession(broker, false);
    for (const change of row.changes) broker.clients.put(change);
    const next = await connectLater(broker, NOW + 1);
    expect(next.connack).toMatchObject({ returnCode: 0, sessionPresent: false });
    await settled(next);
    expect(received(next)).toEqual([]);
    expect(await leftOf(broker)).toEqual(NOTHING);
  },
);

test('I7: a snapshot in which the client is another one hides nothing either', async () => {
  const broker = await start();
  await leaveSession(broker, true);
  broker.clients.replaceAll(successor, PUBLISHER);
  await applied();
  const next = await connectLater(broker, NOW + 1);
  expect(next.connack).toMatchObject({ returnCode: 0, sessionPresent: false });
});

test('the successor keeps its own stored session, until it is replaced itself', async () => {
  const broker = await start({}, successor);
  const first = await connectLater(broker, NOW + 1);
  first.send(subscribePacket({ 'devices/t-42/a': 1 }));
  await first.next('suback');
  first.stream.destroy();
  await broker.log.event('session.closed', { clientId: 't-42' });
  const again = await connectLater(broker, NOW + 2);
  expect(again.connack).toMatchObject({ returnCode: 0, sessionPresent: true });
  again.stream.destroy();
  broker.clients.put(feedClient({ tokensNotBefore: NOW + 3 }));
  const next = await connectLater(broker, NOW + 3);
  expect(next.connack).toMatchObject({ returnCode: 0, sessionPresent: false });
});

test('I7: who was quicker than the news of its registration does not keep what it got', async () => {
  const broker = await start();
  await leaveSession(broker, false);
  const early = await connectLater(broker, NOW + 5);
  expect(early.connack).toMatchObject({ returnCode: 0, sessionPresent: true });
  broker.clients.put(feedClient({ tokensNotBefore: NOW + 5 }));
  await early.closed;
  const again = await connectLater(broker, NOW + 6);
  expect(again.connack).toMatchObject({ returnCode: 0, sessionPresent: false });
  broker.clients.put(feedClient({ tokensNotBefore: NOW + 5, scope: 'pubsub:#' }));
  await applied();
  await settled(again);
});

test('a clean session under a token that stays good goes on', async () => {
  const broker = await start();
  broker.clock.set(NOW + 5);
  const client = await broker.connect({ issuedAt: NOW + 5, expiresAt: NOW + 900 });
  broker.clients.put(feedClient({ tokensNotBefore: NOW + 5 }));
  await applied();
  await settled(client);
});

test('I2: nobody gets a stored session whose owner cannot be read', async () => {
  const broker = await start({}, successor);
  persistenceOf(broker).cleanSubscriptions = () => Promise.reject(new Error('disk'));
  expect((await connectLater(broker, NOW + 1)).connack.returnCode).toBe(3);
});

test('I11: a page of a thousand clients is carried out in slices, revocations before what is stored', async () => {
  const broker = await start();
  const persistence = persistenceOf(broker);
  const client = await broker.connect();
  const before = broker.clients.lookUps;
  const ids = Array.from({ length: 1000 }, (_, i) => `c-${i}`);
  const turns: number[] = [];
  let purged = 0;
  let revokedBefore: number | undefined;
  const { cleanSubscriptions } = persistence;
  persistence.cleanSubscriptions = (one) => {
    purged += 1;
    revokedBefore ??= broker.log.all('session.revoked').length;
    return cleanSubscriptions.call(persistence, one);
  };
  broker.clients.put(
    ...ids.map((id) => feedClient({ id, status: 'revoked' })),
    feedClient({ status: 'revoked' }),
  );
  expect(broker.clients.lookUps).toBe(before);
  for (let last = 0; purged < 1001; last = purged) {
    await new Promise((resolve) => setImmediate(resolve));
    turns.push(purged - last);
  }
  expect(Math.max(...turns)).toBeLessThanOrEqual(50);
  expect(revokedBefore).toBe(1);
  await client.closed;
});

test('a client that changes while its change is carried out is judged by the last word', async () => {
  const broker = await start();
  const client = await broker.connect();
  broker.clients.put(feedClient({ status: 'suspended' }));
  broker.clients.put(feedClient());
  await applied();
  await settled(client);
});

test('I5: a persistence that never answers keeps no other client connected that is revoked', async () => {
  const broker = await start();
  await leaveSession(broker, false);
  const client = await broker.connect({ clientId: 'pub', scope: 'pub:#' });
  persistenceOf(broker).cleanSubscriptions = () => new Promise(() => undefined);
  broker.clients.put(feedClient({ status: 'revoked' }));
  await applied();
  broker.clients.put({ ...PUBLISHER, status: 'revoked' });
  await client.closed;
});

test.each([
  { name: 'revoked', left: [feedClient({ status: 'revoked' })] },
  { name: 'gone', left: [] },
])(
  'trap 3: nothing is queued for a client that is $name in a new snapshot, and it is emptied',
  async ({ left }) => {
    const broker = await start();
    await leaveSession(broker, false);
    broker.clients.replaceAll(PUBLISHER, ...left);
    await applied();
    const persistence = persistenceOf(broker);
    const { cleanSubscriptions } = persistence;
    persistence.cleanSubscriptions = async (client) => {
      if ((client as { id: string }).id === 't-42') throw new Error('not now');
    };
    await publishAll(broker, 'devices/t-42/a');
    await applied();
    expect((await leftOf(broker)).queue).toHaveLength(3);
    persistence.cleanSubscriptions = cleanSubscriptions;
    await publishAll(broker, 'devices/t-42/a');
    await applied();
    expect(await leftOf(broker)).toEqual(NOTHING);
  },
);

test('messages are queued for whom the registry has, suspended or not, and while it is not whole', async () => {
  const broker = await start();
  await leaveSession(broker, false);
  broker.clients.replaceAll(PUBLISHER, feedClient({ status: 'suspended' }));
  await publishAll(broker, 'devices/t-42/a');
  expect((await leftOf(broker)).queue).toHaveLength(4);
  broker.clients.isWhole = false;
  broker.clients.replaceAll(PUBLISHER);
  await publishAll(broker, 'devices/t-42/a');
  expect((await leftOf(broker)).queue).toHaveLength(5);
});

test('who is connected is not looked up for each message', async () => {
  const broker = await start();
  const ear = await broker.connect({}, { clean: false });
  ear.send(subscribePacket({ 'devices/t-42/a': 1 }));
  await ear.next('suback');
  const publisher = await broker.connect({ clientId: 'pub', scope: 'pub:#' });
  const before = broker.clients.lookUps;
  for (let i = 1; i <= 10; i += 1) {
    publisher.send(publishPacket('devices/t-42/a', 1, { messageId: i }));
    await publisher.next('puback');
  }
  await ear.next('publish');
  expect(broker.clients.lookUps).toBe(before);
});
