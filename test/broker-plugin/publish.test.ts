/** What may be published: STANDARDS 5.3 (6, 10, 14) and 6, groups 21, 30. */
import { expect, test } from 'vitest';
import { type GuardedBroker, startGuardedBroker } from '../helpers/guarded-broker.ts';
import type { TokenRequest } from '../helpers/issuer-server.ts';
import { connectPacket, publishPacket, subscribePacket } from '../helpers/mqtt-wire.ts';

const ours = (topics: readonly string[]) => topics.filter((topic) => !topic.startsWith('$'));

/** A client that may hear everything, with a stored session, so that queues would show. */
async function listener(broker: GuardedBroker) {
  const all: TokenRequest = { clientId: 'ear', scope: 'sub:#', ttlSeconds: 3600 };
  const client = await broker.connect(all, { clean: false });
  client.send(subscribePacket({ '#': 2 }));
  await client.next('suback');
  return client;
}

test.each(
  ([0, 1, 2] as const).flatMap((qos) => [
    { name: `a foreign topic at QoS ${qos}`, topic: 'devices/t-43/x', qos },
    { name: `a foreign topic at QoS ${qos}, retained`, topic: 'devices/t-43/x', qos, retain: true },
    { name: `a foreign topic at QoS ${qos}, DUP`, topic: 'devices/t-43/x', qos, dup: qos > 0 },
    { name: `$SYS at QoS ${qos}`, topic: '$SYS/other/new/clients', qos, payload: 'ear' },
    { name: `$share at QoS ${qos}`, topic: '$share/g/devices/t-42/x', qos },
  ]),
)('I2, trap 6: $name is neither delivered nor kept nor acknowledged, and closes', async (row) => {
  const { topic, qos, name: _, ...options } = row;
  const broker = await startGuardedBroker();
  const heard = await broker.heard();
  const ear = await listener(broker);
  const client = await broker.connect();
  client.send(publishPacket(topic, qos, options), publishPacket('devices/t-42/rest', 1));
  await client.closed;
  expect(client.packets.map(({ cmd }) => cmd)).toEqual(['connack']);
  expect(ours(heard)).toEqual([]);
  expect(broker.log.all('publish.refused')).toMatchObject([{ clientId: 't-42', topic, qos }]);

  // Neither retained nor queued: a second look shows the marker alone.
  ear.stream.destroy();
  await broker.log.event('session.closed', { clientId: 'ear' });
  const marker = await broker.connect({ clientId: 'm', scope: 'pub:#' });
  marker.send(publishPacket('marker', 1, { retain: true }));
  await marker.next('puback');
  const again = await listener(broker);
  const [queued, retained] = [await again.next('publish'), await again.next('publish')];
  expect([queued.topic, retained.topic]).toEqual(['marker', 'marker']);
});

test.each([
  {
    name: 'a retained message without the right',
    scope: 'pub;retain=0:a',
    topic: 'a',
    retain: true,
    reason: 'retain-not-allowed',
  },
  {
    name: 'an empty retained message without the right',
    scope: 'pub;retain=0:a',
    topic: 'a',
    retain: true,
    payload: '',
    reason: 'retain-not-allowed',
  },
  {
    name: 'QoS 2 where 1 is allowed',
    scope: 'pub;qos=1:a',
    topic: 'a',
    qos: 2 as const,
    reason: 'qos-too-high',
  },
  { name: 'a topic with NUL', scope: 'pub:a/#', topic: 'a/\0', reason: 'topic-invalid' },
  { name: 'another case', scope: 'pub:a', topic: 'A', reason: 'no-scope' },
  { name: 'a trailing slash', scope: 'pub:a', topic: 'a/', reason: 'no-scope' },
  { name: 'a leading slash', scope: 'pub:a', topic: '/a', reason: 'no-scope' },
  { name: 'a right to subscribe alone', scope: 'sub:a', topic: 'a', reason: 'no-scope' },
  { name: 'no right at all', scope: '', topic: 'a', reason: 'no-scope' },
  {
    name: '$SYS with a scope that names it',
    scope: 'pub:$SYS/#',
    topic: '$SYS/x',
    reason: 'reserved-topic',
  },
])('I2, I12: $name is refused with the reason $reason', async (row) => {
  const { scope, topic, qos = 0, retain = false, payload = 'x', reason } = row;
  const broker = await startGuardedBroker();
  const client = await broker.connect({ scope });
  client.send(publishPacket(topic, qos, { retain, payload }));
  await client.closed;
  expect(broker.log.all('publish.refused')).toMatchObject([{ reason, topic, qos, retain }]);
});

test.each([0, 1, 2] as const)(
  'a covered topic at QoS %i goes out, and the log names the scope',
  async (qos) => {
    const broker = await startGuardedBroker();
    const ear = await listener(broker);
    const client = await broker.connect();
    client.send(publishPacket('devices/t-42/x', qos, { retain: true }));
    if (qos === 1) await client.next('puback');
    if (qos === 2) await client.next('pubrec');
    expect(await ear.next('publish')).toMatchObject({ topic: 'devices/t-42/x', qos });
    expect(await broker.log.event('publish.allowed')).toEqual({
      event: 'publish.allowed',
      clientId: 't-42',
      topic: 'devices/t-42/x',
      qos,
      retain: true,
      scope: 'pub:devices/t-42/#',
    });
  },
);

test('trap 6, I7: a forged $SYS message cannot disconnect a client or invent a broker', async () => {
  const broker = await startGuardedBroker();
  const victim = await broker.connect({ clientId: 'victim' });
  for (const [topic, payload] of [
    ['$SYS/other/new/clients', 'victim'],
    ['$SYS/other/heartbeat', 'other'],
  ] as const) {
    const client = await broker.connect({ scope: 'pub:# pub:$SYS/#' });
    client.send(publishPacket(topic, 0, { payload }));
    await client.closed;
  }
  victim.send({ cmd: 'pingreq' });
  await victim.next('pingresp');
  expect(Object.keys(broker.aedes.brokers)).not.toContain('other');
});

test.each([
  { name: 'of the bound', bytes: 1000, isClosed: false },
  { name: 'of one byte more', bytes: 1001, isClosed: true },
])('trap 10, I11: a packet $name: closed is $isClosed', async ({ bytes, isClosed }) => {
  const broker = await startGuardedBroker({ options: { limits: { packetBytes: 1000 } } });
  const client = await broker.connect();
  const header = 2 + 'devices/t-42/x'.length + 2;
  client.send(publishPacket('devices/t-42/x', 1, { payload: 'x'.repeat(bytes - header) }));
  if (!isClosed) await client.next('puback');
  else {
    await client.closed;
    expect(client.packets).toHaveLength(1);
  }
});

test('trap 10: a packet of 256 MB is cut off at its header, not buffered', async () => {
  const broker = await startGuardedBroker();
  const client = await broker.connect();
  client.send(Uint8Array.of(0x30, 0xff, 0xff, 0xff, 0x7f));
  await client.closed;
});

test('I2: a publication that is refused lets the will out, which was approved at CONNECT', async () => {
  const broker = await startGuardedBroker();
  const heard = await broker.heard();
  const client = await broker.connect(
    {},
    { will: { topic: 'devices/t-42/gone', payload: Buffer.from('x'), qos: 0, retain: false } },
  );
  client.send(publishPacket('devices/t-43/x'));
  await client.closed;
  await broker.log.event('publish.allowed', { topic: 'devices/t-42/gone' });
  await broker.log.event('session.closed');
  expect(ours(heard)).toEqual(['devices/t-42/gone']);
});

test('wire texts in the log are bounded', async () => {
  const broker = await startGuardedBroker();
  const client = await broker.connect();
  client.send(publishPacket('x'.repeat(60_000)));
  await client.closed;
  const { topic } = await broker.log.event('publish.refused');
  expect(topic).toHaveLength(257);
  const stranger = await broker.wire();
  stranger.send(connectPacket('x', { clientId: 'y'.repeat(5000) }));
  await stranger.closed;
  const { mqttClientId } = await broker.log.event('connect.refused');
  expect(mqttClientId).toHaveLength(257);
});
