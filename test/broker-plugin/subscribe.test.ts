/** What may be subscribed to and received: STANDARDS 5.3 (2, 3, 6, 12, 19) and 6, groups 22 to 25, 29. */
import type { Aedes } from 'aedes';
import fc from 'fast-check';
import type { ISubackPacket } from 'mqtt-packet';
import { expect, test } from 'vitest';
import { type GuardedBroker, startGuardedBroker } from '../helpers/guarded-broker.ts';
import { publishPacket, subscribePacket } from '../helpers/mqtt-wire.ts';

const FORBIDDEN = 128;
const ANY_PUBLISHER = { clientId: 'pub', scope: 'pub:#', ttlSeconds: 3600 };

async function publish(broker: GuardedBroker, ...topics: string[]): Promise<void> {
  const client = await broker.connect(ANY_PUBLISHER);
  for (const [i, topic] of topics.entries()) {
    client.send(publishPacket(topic, 1, { messageId: i + 1 }));
    await client.next('puback');
  }
  client.stream.destroy();
  await client.closed;
}

interface StoredPersistence {
  subscriptionsByClient(client: { id: string }): Promise<readonly { topic: string }[]>;
  subscriptionsByTopic(topic: string): Promise<readonly unknown[]>;
  outgoingStream(client: { id: string }): AsyncIterable<{ topic: string }>;
  storeRetained(packet: object): Promise<void>;
  outgoingEnqueue(client: { clientId: string }, packet: object): Promise<void>;
}
const storeOf = (aedes: Aedes) =>
  (aedes as unknown as { persistence: StoredPersistence }).persistence;

async function storedTopics({ aedes }: GuardedBroker): Promise<readonly string[]> {
  const stored = await storeOf(aedes).subscriptionsByClient({ id: 't-42' });
  return stored.map(({ topic }) => topic);
}

async function queuedTopics({ aedes }: GuardedBroker): Promise<readonly string[]> {
  const topics: string[] = [];
  for await (const { topic } of storeOf(aedes).outgoingStream({ id: 't-42' })) topics.push(topic);
  return topics;
}

test.each([
  { filter: 'devices/t-42/#', granted: 1 },
  { filter: 'devices/t-42', granted: 1 },
  { filter: 'devices/t-42/+/x', granted: 1 },
  { filter: 'devices/+/x', granted: FORBIDDEN },
  { filter: 'devices/t-43/#', granted: FORBIDDEN },
  { filter: 'devices/#', granted: FORBIDDEN },
  { filter: '#', granted: FORBIDDEN },
  { filter: '$SYS/#', granted: FORBIDDEN },
  { filter: '$SYS/x', granted: FORBIDDEN },
  { filter: '$share/g/devices/t-42/x', granted: FORBIDDEN },
  { filter: '$share//x', granted: FORBIDDEN },
  { filter: '$share/g/$SYS/#', granted: FORBIDDEN },
  { filter: '$queue/devices/t-42/x', granted: FORBIDDEN },
  { filter: 'a#', granted: FORBIDDEN },
  { filter: 'a+', granted: FORBIDDEN },
  { filter: '+a', granted: FORBIDDEN },
  { filter: 'x/+y', granted: FORBIDDEN },
  { filter: 'devices/t-42/\0', granted: FORBIDDEN },
])('traps 6, 12: the filter $filter is answered with $granted', async ({ filter, granted }) => {
  const broker = await startGuardedBroker();
  const client = await broker.connect({ scope: 'sub:devices/t-42/# sub:a/#' });
  client.send(subscribePacket({ [filter]: 1 }));
  expect(await client.next('suback')).toMatchObject({ granted: [granted] });
  const event = granted === FORBIDDEN ? 'subscribe.refused' : 'subscribe.allowed';
  expect(await broker.log.event(event)).toMatchObject({ clientId: 't-42', topic: filter, qos: 1 });
});

test.each(['$SYS/#', '$SYS/x', '$share/g/a', '$queue/a'])(
  'trap 6: even a token that names it does not open %s',
  async (filter) => {
    const broker = await startGuardedBroker();
    const client = await broker.connect({ scope: 'sub:# sub:$SYS/# sub:$share/# sub:$queue/#' });
    client.send(subscribePacket({ [filter]: 1 }));
    expect(await client.next('suback')).toMatchObject({ granted: [FORBIDDEN] });
  },
);

test('a filter above the QoS allowed is refused and the log says so', async () => {
  const broker = await startGuardedBroker();
  const client = await broker.connect({ scope: 'sub;qos=1:a' });
  client.send(subscribePacket({ a: 2 }));
  expect(await client.next('suback')).toMatchObject({ granted: [FORBIDDEN] });
  expect(await broker.log.event('subscribe.refused')).toMatchObject({
    reason: 'qos-too-high',
    nearest: 'sub;qos=1:a',
  });
});

test.each([
  { filters: 100, isClosed: false },
  { filters: 101, isClosed: true },
])(
  'trap 19, I11: SUBSCRIBE with $filters filters: closed is $isClosed',
  async ({ filters, isClosed }) => {
    const broker = await startGuardedBroker();
    const client = await broker.connect({ scope: 'sub:#' });
    const entries = Array.from({ length: filters }, (_, i) => [`a/${i}`, 0] as const);
    client.send(subscribePacket(Object.fromEntries(entries)));
    if (isClosed) await client.closed;
    else expect(((await client.next('suback')) as ISubackPacket).granted).toHaveLength(filters);
    expect(broker.log.all('subscribe.allowed')).toHaveLength(isClosed ? 0 : filters);
  },
);

test.each([1, 2] as const)(
  'trap 2, I4: of a mixed SUBSCRIBE at QoS %i the refused filters are never stored, queued or delivered',
  async (qos) => {
    const broker = await startGuardedBroker();
    const token = await broker.issuer.token({ scope: 'sub:ok/#', ttlSeconds: 3600 });
    const client = await broker.connect(token, { clean: false });
    client.send(
      subscribePacket({
        'secret/a': qos,
        'ok/a': qos,
        'secret/b': qos,
        'ok/b': qos,
        'secret/c': qos,
      }),
    );
    expect(await client.next('suback')).toMatchObject({
      granted: [FORBIDDEN, qos, FORBIDDEN, qos, FORBIDDEN],
    });
    expect(await storedTopics(broker)).toEqual(['ok/a', 'ok/b']);
    await publish(broker, 'secret/a', 'ok/a', 'secret/b', 'secret/c');
    await client.next('publish');
    client.stream.destroy();
    await broker.log.event('session.closed', { clientId: 't-42' });
    await publish(broker, 'secret/a', 'secret/b', 'secret/c', 'ok/b');
    expect((await queuedTopics(broker)).filter((topic) => topic.startsWith('secret'))).toEqual([]);
    for (const topic of ['secret/a', 'secret/b', 'secret/c']) {
      expect(await storeOf(broker.aedes).subscriptionsByTopic(topic)).toEqual([]);
    }

    const again = await broker.connect(token, { clean: false });
    await publish(broker, 'secret/a', 'ok/last');
    again.send(subscribePacket({ 'ok/last': 0 }));
    await again.next('suback');
    await publish(broker, 'ok/last');
    const seen = new Set<string>();
    for (let topic = ''; topic !== 'ok/last'; seen.add(topic))
      ({ topic } = await again.next('publish'));
    expect([...seen].sort()).toEqual(['ok/a', 'ok/b', 'ok/last']);
  },
);

test('trap 2: a filter that the host refuses is not stored either', async () => {
  const broker = await startGuardedBroker({
    before: (aedes) => {
      aedes.authorizeSubscribe = (_client, subscription, callback) =>
        callback(null, subscription.topic === 'ok/host' ? null : subscription);
    },
  });
  const client = await broker.connect({ scope: 'sub:ok/#' }, { clean: false });
  client.send(subscribePacket({ 'ok/a': 1, 'ok/host': 1, 'ok/b': 1 }));
  expect(await client.next('suback')).toMatchObject({ granted: [1, FORBIDDEN, 1] });
  expect(await storedTopics(broker)).toEqual(['ok/a', 'ok/b']);
});

test('I4: a session restored with a narrower token loses filters and queued messages it no longer covers', async () => {
  const broker = await startGuardedBroker();
  const first = await broker.connect({ scope: 'sub:a/# sub:b/#' }, { clean: false });
  first.send(subscribePacket({ 'a/#': 1, 'b/#': 1 }));
  await first.next('suback');
  first.stream.destroy();
  await broker.log.event('session.closed', { clientId: 't-42' });
  await publish(broker, 'a/1', 'b/1', 'a/2', 'b/2');
  expect(await queuedTopics(broker)).toEqual(['a/1', 'b/1', 'a/2', 'b/2']);

  const again = await broker.connect({ scope: 'sub:b/#' }, { clean: false });
  expect(again.connack).toMatchObject({ returnCode: 0, sessionPresent: true });
  expect(await storedTopics(broker)).toEqual(['b/#']);
  await publish(broker, 'a/3', 'b/3');
  const topics: string[] = [];
  while (topics.at(-1) !== 'b/3') topics.push((await again.next('publish')).topic);
  expect(topics).toEqual(['b/1', 'b/2', 'b/3']);
  expect(broker.log.all('receive.refused')).toMatchObject([{ topic: 'a/1' }, { topic: 'a/2' }]);
  expect((await queuedTopics(broker)).filter((topic) => topic.startsWith('a'))).toEqual([]);
});

test('sessionPresent is honest when nothing of the stored session is left', async () => {
  const broker = await startGuardedBroker();
  const first = await broker.connect({ scope: 'sub:a' }, { clean: false });
  first.send(subscribePacket({ a: 1 }));
  await first.next('suback');
  first.stream.destroy();
  await broker.log.event('session.closed');
  const again = await broker.connect({ scope: 'sub:b' }, { clean: false });
  expect(again.connack).toMatchObject({ returnCode: 0, sessionPresent: false });
  expect(await storedTopics(broker)).toEqual([]);
});

test('a stored session that cannot be read is refused with return code 3', async () => {
  const broker = await startGuardedBroker();
  storeOf(broker.aedes).subscriptionsByClient = () => Promise.reject(new Error('disk'));
  const { connack } = await broker.connect({}, { clean: false });
  expect(connack).toMatchObject({ returnCode: 3 });
});

test('trap 6, I4: retained and queued $ messages do not come out under #', async () => {
  const broker = await startGuardedBroker();
  const store = storeOf(broker.aedes);
  const message = { cmd: 'publish', payload: Buffer.from('x'), qos: 1, retain: true };
  await store.storeRetained({ ...message, topic: '$internal/secret' });
  await store.storeRetained({ ...message, topic: 'open' });
  const token = await broker.issuer.token({ scope: 'sub:#' });
  const client = await broker.connect(token, { clean: false });
  client.send(subscribePacket({ '#': 1 }));
  await client.next('suback');
  expect(await client.next('publish')).toMatchObject({ topic: 'open', retain: true });
  client.stream.destroy();
  await broker.log.event('session.closed');
  for (const [i, topic] of ['$internal/queued', 'queued'].entries()) {
    await store.outgoingEnqueue(
      { clientId: 't-42' },
      { ...message, topic, retain: false, brokerId: 'b', brokerCounter: i + 1 },
    );
  }
  const again = await broker.connect(token, { clean: false });
  const topics: string[] = [];
  while (topics.at(-1) !== 'queued') topics.push((await again.next('publish')).topic);
  expect(topics.filter((topic) => topic.startsWith('$'))).toEqual([]);
  expect(client.packets.map((packet) => (packet as { topic?: string }).topic)).not.toContain(
    '$internal/secret',
  );
});

test('a refused delivery takes no other message out of the queue', async () => {
  const broker = await startGuardedBroker();
  const store = storeOf(broker.aedes);
  await store.storeRetained({
    cmd: 'publish',
    topic: '$internal/x',
    payload: Buffer.from('x'),
    qos: 1,
    retain: true,
  });
  const client = await broker.connect({ scope: 'sub:#' }, { clean: false });
  // Waits in the queue without a message id, as every message does for a moment.
  await store.outgoingEnqueue(
    { clientId: 't-42' },
    { cmd: 'publish', topic: 'waiting', payload: 'x', qos: 1 },
  );
  client.send(subscribePacket({ '#': 1 }));
  await client.next('suback');
  await broker.log.event('receive.refused', { topic: '$internal/x' });
  await publish(broker, 'marker');
  await client.next('publish');
  expect(await queuedTopics(broker)).toContain('waiting');
});

test('overlapping filters give one copy', async () => {
  const broker = await startGuardedBroker();
  const client = await broker.connect({ scope: 'sub:a/#' });
  client.send(subscribePacket({ 'a/#': 0, 'a/+': 0, 'a/b': 0 }));
  await client.next('suback');
  await publish(broker, 'a/b', 'a/last');
  await client.next('publish');
  await client.next('publish');
  expect(client.packets.filter(({ cmd }) => cmd === 'publish')).toHaveLength(2);
});

test('I4: what a client receives is what one of its scopes covers, whatever it asks for', async () => {
  const broker = await startGuardedBroker();
  const level = fc.constantFrom('a', 'b', '+', '');
  const filter = fc
    .tuple(fc.array(level, { minLength: 1, maxLength: 3 }), fc.boolean())
    .map(([levels, isOpen]) => [...levels, ...(isOpen ? ['#'] : [])].join('/'))
    .filter((text) => text !== '');
  const names = ['a', 'b', 'a/a', 'a/b', 'b/a', 'a/a/b', 'b/b/b', '/a', 'a/'];
  await fc.assert(
    fc.asyncProperty(
      filter,
      fc.array(filter, { minLength: 1, maxLength: 3 }),
      async (scope, filters) => {
        const client = await broker.connect({ clientId: 'ear', scope: `sub:${scope} sub:end` });
        client.send(
          subscribePacket({ ...Object.fromEntries(filters.map((one) => [one, 0])), end: 0 }),
        );
        await client.next('suback');
        await publish(broker, ...names, 'end');
        for (;;) {
          const { topic } = await client.next('publish');
          if (topic === 'end') break;
          const pattern = scope
            .split('/')
            .map((one) => (one === '+' ? '[^/]*' : one === '#' ? '.*' : one))
            .join('/')
            .replace(/\/\.\*$/, '(/.*)?');
          expect(topic).toMatch(new RegExp(`^${pattern}$`));
        }
        client.stream.destroy();
        await client.closed;
      },
    ),
    { numRuns: 25 },
  );
});

test('a clean session stores nothing', async () => {
  const broker = await startGuardedBroker();
  const client = await broker.connect({}, { clean: true });
  client.send(subscribePacket({ 'devices/t-42/x': 1 }));
  await client.next('suback');
  expect(await storedTopics(broker)).toEqual([]);
});
