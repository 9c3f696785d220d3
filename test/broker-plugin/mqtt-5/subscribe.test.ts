/** SUBSCRIBE of MQTT 5, filter by filter: STANDARDS 4.3, 4.4, 5.3 (2, 12), 6, groups 22, 23 and 24. */
import type { ISubscribePacket } from 'mqtt-packet';
import { expect, test } from 'vitest';
import { type GuardedBroker, startGuardedBroker } from '../../helpers/guarded-broker.ts';
import { publishPacket, subscribePacket } from '../../helpers/mqtt-wire.ts';
import { CODE, connect5 } from '../../helpers/mqtt5.ts';

const RIGHTS = { scope: 'sub:devices/t-42/# sub:up/+ sub:__proto__ sub:constructor/#' };
const list = (...topics: readonly string[]): ISubscribePacket => ({
  cmd: 'subscribe',
  messageId: 9,
  subscriptions: topics.map((topic) => ({ topic, qos: 1 })),
});

async function storedOf(broker: GuardedBroker): Promise<readonly string[]> {
  const { persistence } = broker.aedes as unknown as {
    persistence: { subscriptionsByClient(client: object): Promise<{ topic: string }[]> };
  };
  return (await persistence.subscriptionsByClient({ id: 't-42' })).map(({ topic }) => topic);
}

const REFUSED = CODE.notAuthorized;
const MALFORMED = CODE.topicFilterInvalid;
const SHARED = CODE.sharedSubscriptionsNotSupported;

const CASES: readonly { readonly filter: string; readonly code: number }[] = [
  { filter: 'devices/t-42/x', code: 1 },
  { filter: 'devices/t-42/#', code: 1 },
  { filter: 'devices/t-42', code: 1 },
  { filter: 'constructor/x', code: 1 },
  { filter: 'devices/#', code: REFUSED },
  { filter: 'up/#', code: REFUSED },
  { filter: '#', code: REFUSED },
  { filter: '$SYS/#', code: REFUSED },
  { filter: '$queue/devices/t-42/x', code: REFUSED },
  { filter: '$share', code: REFUSED },
  { filter: '', code: MALFORMED },
  { filter: 'devices/t-42/a+', code: MALFORMED },
  { filter: 'devices/t-42/+a', code: MALFORMED },
  { filter: 'devices/t-42/a#', code: MALFORMED },
  { filter: 'devices/t-42/#/x', code: MALFORMED },
  { filter: 'devices/t-42/\0', code: MALFORMED },
  { filter: `devices/t-42${'/x'.repeat(200)}`, code: MALFORMED },
  { filter: '__proto__', code: MALFORMED },
  { filter: '$share/g/devices/t-42/x', code: SHARED },
  { filter: '$share/g/secret', code: SHARED },
  { filter: '$share/g/$SYS/#', code: SHARED },
  { filter: '$share//devices/t-42/x', code: SHARED },
  { filter: '$share/g+/x', code: SHARED },
  { filter: '$share/g', code: SHARED },
];

test.each(CASES)('the filter $filter alone gets $code', async ({ filter, code }) => {
  const broker = await startGuardedBroker();
  const client = await connect5(broker, RIGHTS);
  client.send(list(filter));
  expect(await client.next('suback')).toMatchObject({ messageId: 9, granted: [code] });
  client.send({ cmd: 'pingreq' });
  await client.next('pingresp');
});

test('trap 2: each filter of one SUBSCRIBE gets its own code, and none that is refused is stored', async () => {
  const broker = await startGuardedBroker();
  const properties = { sessionExpiryInterval: 3600 };
  const client = await connect5(broker, RIGHTS, { clean: false, properties });
  client.send(list(...CASES.map(({ filter }) => filter)));
  expect((await client.next('suback')).granted).toEqual(CASES.map(({ code }) => code));
  const granted = CASES.filter(({ code }) => code === 1).map(({ filter }) => filter);
  expect(await storedOf(broker)).toEqual(granted);
});

test('a SUBSCRIBE of which everything is refused changes nothing', async () => {
  const broker = await startGuardedBroker();
  const properties = { sessionExpiryInterval: 3600 };
  const client = await connect5(broker, RIGHTS, { properties });
  client.send(list('secret', 'a+', '$share/g/secret'));
  expect((await client.next('suback')).granted).toEqual([REFUSED, MALFORMED, SHARED]);
  expect(await storedOf(broker)).toEqual([]);
});

test('[MQTT-3.9.3-1]: a filter that comes twice gets two codes, and the last one counts', async () => {
  const broker = await startGuardedBroker();
  const client = await connect5(broker, RIGHTS);
  client.send({
    ...list(),
    subscriptions: [
      { topic: 'devices/t-42/x', qos: 2 },
      { topic: 'up/+', qos: 0 },
      { topic: 'devices/t-42/x', qos: 1 },
    ],
  });
  expect((await client.next('suback')).granted).toEqual([1, 0, 1]);
});

test('a host that refuses a filter is heard in the same SUBACK', async () => {
  const broker = await startGuardedBroker({
    before: (aedes) => {
      aedes.authorizeSubscribe = (_client, subscription, callback) =>
        callback(null, subscription.topic === 'up/+' ? null : subscription);
    },
  });
  const client = await connect5(broker, RIGHTS);
  client.send(list('up/+', 'a#', 'devices/t-42/x', 'secret'));
  expect((await client.next('suback')).granted).toEqual([REFUSED, MALFORMED, 1, REFUSED]);
});

test('a granted filter beside a refused one delivers what is live and what is retained, and no more', async () => {
  const broker = await startGuardedBroker();
  const other = await connect5(broker, { clientId: 'other', scope: 'pub:#' });
  other.send(publishPacket('devices/t-42/x', 1, { payload: 'retained', retain: true }));
  await other.next('puback');
  other.send(publishPacket('secret', 1, { payload: 'retained', retain: true, messageId: 2 }));
  await other.next('puback');
  const client = await connect5(broker, RIGHTS);
  client.send(list('secret', 'devices/t-42/+'));
  await client.next('suback');
  expect(await client.next('publish')).toMatchObject({ topic: 'devices/t-42/x', retain: true });
  other.send(publishPacket('secret', 1, { messageId: 3 }));
  other.send(publishPacket('devices/t-42/live', 1, { messageId: 4 }));
  expect(await client.next('publish')).toMatchObject({ topic: 'devices/t-42/live', retain: false });
  expect(client.packets.filter(({ cmd }) => cmd === 'publish')).toHaveLength(2);
});

test.each([0, 1, 2])(
  'I4: retain handling %i shows nothing that the rights do not cover',
  async (rh) => {
    const broker = await startGuardedBroker();
    const other = await connect5(broker, { clientId: 'other', scope: 'pub:#' });
    for (const [index, topic] of ['up/a', 'up/a/b'].entries()) {
      other.send(publishPacket(topic, 1, { retain: true, messageId: index + 1 }));
      await other.next('puback');
    }
    const client = await connect5(broker, RIGHTS);
    client.send({ ...list(), subscriptions: [{ topic: 'up/+', qos: 1, rh, rap: true, nl: true }] });
    await client.next('suback');
    client.send({ ...list(), subscriptions: [{ topic: 'up/#', qos: 1, rh, rap: true, nl: true }] });
    await client.next('suback');
    client.send(publishPacket('devices/none', 1)); // refused; its PUBACK comes behind what was sent
    await client.next('puback');
    const received = client.packets.flatMap((packet) =>
      packet.cmd === 'publish' ? packet.topic : [],
    );
    expect(received).toEqual(rh === 2 ? [] : ['up/a']);
  },
);

test('No Local keeps a publication from its own publisher, and nothing else', async () => {
  const broker = await startGuardedBroker();
  const rights = { scope: 'pubsub:devices/t-42/#' };
  const client = await connect5(broker, rights);
  client.send({ ...list(), subscriptions: [{ topic: 'devices/t-42/#', qos: 1, nl: true }] });
  await client.next('suback');
  client.send(publishPacket('devices/t-42/own', 1));
  await client.next('puback');
  const other = await connect5(broker, { clientId: 'other', scope: 'pub:#' });
  other.send(publishPacket('devices/t-42/from-other', 1));
  expect(await client.next('publish')).toMatchObject({ topic: 'devices/t-42/from-other' });
});

test('a subscription identifier comes with what is delivered, and opens nothing', async () => {
  const broker = await startGuardedBroker();
  const client = await connect5(broker, RIGHTS);
  client.send({ ...list('devices/t-42/#', 'secret'), properties: { subscriptionIdentifier: 7 } });
  expect((await client.next('suback')).granted).toEqual([1, REFUSED]);
  const other = await connect5(broker, { clientId: 'other', scope: 'pub:#' });
  other.send(publishPacket('secret', 1), publishPacket('devices/t-42/x', 1, { messageId: 2 }));
  expect(await client.next('publish')).toMatchObject({
    topic: 'devices/t-42/x',
    properties: { subscriptionIdentifier: 7 },
  });
});

test('UNSUBSCRIBE answers filter by filter, also for names that every object has', async () => {
  const broker = await startGuardedBroker();
  const client = await connect5(broker, RIGHTS);
  client.send(subscribePacket({ 'devices/t-42/x': 1 }));
  await client.next('suback');
  const unsubscriptions = ['devices/t-42/x', 'secret', 'constructor', '__proto__', '$share/g/x'];
  client.send({ cmd: 'unsubscribe', messageId: 4, unsubscriptions });
  const none = CODE.noSubscription;
  expect(await client.next('unsuback')).toMatchObject({ granted: [0, none, none, none, none] });
});
