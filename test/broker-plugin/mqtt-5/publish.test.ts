/** Publications of MQTT 5: STANDARDS 4.1, 4.4, 6, groups 21, 26 and 29. */
import type { IPublishPacket } from 'mqtt-packet';
import { expect, test } from 'vitest';
import {
  type GuardedBroker,
  startGuardedBroker,
  TRANSPORTS,
} from '../../helpers/guarded-broker.ts';
import { connectPacket, publishPacket, subscribePacket } from '../../helpers/mqtt-wire.ts';
import { CODE, connect5, disconnected } from '../../helpers/mqtt5.ts';

const ours = (topics: readonly string[]) => topics.filter((topic) => !topic.startsWith('$'));
const NOT_AUTHORIZED = {
  reasonCode: CODE.notAuthorized,
  properties: { reasonString: 'not authorized to publish' },
};

test.each([
  { qos: 1, answer: 'puback' },
  { qos: 2, answer: 'pubrec' },
] as const)('QoS $qos beyond the rights: $answer 0x87, and the session goes on', async (row) => {
  const broker = await startGuardedBroker();
  const heard = await broker.heard();
  const client = await connect5(broker);
  client.send(publishPacket('devices/t-43/x', row.qos, { retain: true }));
  expect(await client.next(row.answer)).toMatchObject({ messageId: 1, ...NOT_AUTHORIZED });
  client.send(publishPacket('devices/t-42/x', row.qos, { messageId: 2 }));
  expect(await client.next(row.answer)).toMatchObject({ messageId: 2, reasonCode: CODE.success });
  client.send({ cmd: 'pingreq' });
  await client.next('pingresp');
  expect(ours(heard)).toEqual(['devices/t-42/x']);
  expect(broker.log.all('publish.refused')).toMatchObject([
    { clientId: 't-42', reason: 'no-scope' },
  ]);
});

test('a client that asked for no problem information gets the code of a PUBACK alone', async () => {
  const broker = await startGuardedBroker();
  const client = await connect5(broker, {}, { properties: { requestProblemInformation: false } });
  client.send(publishPacket('devices/t-43/x', 1));
  const puback = await client.next('puback');
  expect(puback.reasonCode).toBe(CODE.notAuthorized);
  expect(puback).not.toHaveProperty('properties');
});

test.each(TRANSPORTS)('QoS 0 beyond the rights over %s: DISCONNECT 0x87', async (transport) => {
  const broker = await startGuardedBroker();
  const heard = await broker.heard();
  const client = await broker.wire(transport);
  client.send(connectPacket(await broker.issuer.token(), { protocolVersion: 5 }));
  await client.next('connack');
  client.send(publishPacket('devices/t-43/x'), publishPacket('devices/t-42/x', 1));
  expect(await disconnected(client)).toBe(CODE.notAuthorized);
  expect(client.packets.at(-1)).toMatchObject({ cmd: 'disconnect' }); // [MQTT-3.14.4-1]
  expect(ours(heard)).toEqual([]);
});

test('a burst: what is allowed goes on in its order around what is refused', async () => {
  const broker = await startGuardedBroker();
  const heard = await broker.heard();
  const client = await connect5(broker);
  client.send(
    ...['devices/t-42/1', 'devices/t-43/2', 'devices/t-42/3', '$SYS/4', 'devices/t-42/5'].map(
      (topic, i) => publishPacket(topic, 2, { messageId: i + 1 }),
    ),
  );
  const codes: (number | undefined)[] = [];
  for (let i = 0; i < 5; i += 1) codes.push((await client.next('pubrec')).reasonCode);
  expect(codes.filter((code) => code === CODE.notAuthorized)).toHaveLength(2);
  expect(ours(heard)).toEqual(['devices/t-42/1', 'devices/t-42/3', 'devices/t-42/5']);
});

test('a publication that is refused with a will standing does not let the will out', async () => {
  const broker = await startGuardedBroker();
  const heard = await broker.heard();
  const will = {
    topic: 'devices/t-42/gone',
    payload: Buffer.from('x'),
    qos: 0 as const,
    retain: false,
  };
  const client = await connect5(broker, {}, { will });
  client.send(publishPacket('devices/t-43/x', 1));
  await client.next('puback');
  expect(ours(heard)).toEqual([]);
});

test('I5: at exp a publication is refused, and the session ends with 0xA0', async () => {
  const broker = await startGuardedBroker();
  const heard = await broker.heard();
  const client = await connect5(broker, { ttlSeconds: 60 });
  broker.clock.set(broker.clock.now() + 60);
  client.send(publishPacket('devices/t-42/late', 1));
  expect(await disconnected(client)).toBe(CODE.maximumConnectTime);
  expect(ours(heard)).toEqual([]);
});

async function withAliases(): Promise<{ broker: GuardedBroker; heard: readonly string[] }> {
  const broker = await startGuardedBroker({ aedes: { topicAliasMaximum: 4 } as never });
  return { broker, heard: await broker.heard() };
}
const aliased = (topic: string, topicAlias: number, messageId: number): IPublishPacket => ({
  ...(publishPacket(topic, 2, { messageId }) as IPublishPacket),
  properties: { topicAlias },
});

test('group 21: the topic that an alias stands for is what is decided', async () => {
  const { broker, heard } = await withAliases();
  const client = await connect5(broker);
  client.send(aliased('devices/t-42/x', 1, 1), aliased('', 1, 2));
  expect(await client.next('pubrec')).toMatchObject({ reasonCode: CODE.success });
  expect(await client.next('pubrec')).toMatchObject({ reasonCode: CODE.success });
  // Registered with a publication that is refused; still nothing but its topic.
  client.send(aliased('devices/t-43/x', 2, 3), aliased('', 2, 4));
  expect(await client.next('pubrec')).toMatchObject(NOT_AUTHORIZED);
  expect(await client.next('pubrec')).toMatchObject(NOT_AUTHORIZED);
  // Given to another topic.
  client.send(aliased('devices/t-43/x', 1, 5), aliased('', 1, 6));
  expect(await client.next('pubrec')).toMatchObject(NOT_AUTHORIZED);
  expect(await client.next('pubrec')).toMatchObject(NOT_AUTHORIZED);
  expect(ours(heard)).toEqual(['devices/t-42/x', 'devices/t-42/x']);
});

test.each([
  { name: 'an alias that stands for nothing', topic: '', alias: 3 },
  { name: 'an alias beyond the maximum', topic: 'devices/t-42/x', alias: 5 },
])('$name: DISCONNECT 0x94', async ({ topic, alias }) => {
  const { broker } = await withAliases();
  const client = await connect5(broker);
  client.send(aliased(topic, alias, 1));
  expect(await disconnected(client)).toBe(CODE.topicAliasInvalid);
});

test('an alias does not reach another connection', async () => {
  const { broker } = await withAliases();
  const first = await connect5(broker, { clientId: 't-43', scope: 'pub:#' });
  first.send(aliased('devices/t-43/x', 1, 1));
  await first.next('pubrec');
  const second = await connect5(broker);
  second.send(aliased('', 1, 1));
  expect(await disconnected(second)).toBe(CODE.topicAliasInvalid);
});

test('message expiry and user properties pass through untouched', async () => {
  const broker = await startGuardedBroker();
  const ear = await connect5(broker, { clientId: 'ear', scope: 'sub:#' });
  ear.send(subscribePacket({ 'devices/#': 1 }));
  await ear.next('suback');
  const properties = {
    payloadFormatIndicator: true,
    messageExpiryInterval: 60,
    contentType: 'text/plain',
    responseTopic: 'devices/t-42/answers',
    correlationData: Buffer.from([0, 1, 255]),
    userProperties: { site: 'berlin', tag: ['a', 'b'] },
  };
  const client = await connect5(broker);
  client.send({ ...(publishPacket('devices/t-42/x', 1) as IPublishPacket), properties });
  const received = await ear.next('publish');
  const { userProperties, ...others } = received.properties ?? {};
  expect(others).toEqual({ ...properties, userProperties: undefined });
  expect({ ...userProperties }).toEqual(properties.userProperties);
});
