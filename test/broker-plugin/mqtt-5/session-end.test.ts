/** What an MQTT 5 client hears when its session ends: STANDARDS 4.4, 6, groups 26, 27 and 28. */
import { expect, test } from 'vitest';
import { REASON, reasonCodeOfEnd } from '../../../broker-plugin/src/mqtt-codes.ts';
import { createDrivenClock } from '../../helpers/driven-clock.ts';
import { startGuardedBroker, TRANSPORTS } from '../../helpers/guarded-broker.ts';
import { createMemoryClients, feedClient } from '../../helpers/memory-clients.ts';
import { connectPacket, encoded, publishPacket, subscribePacket } from '../../helpers/mqtt-wire.ts';
import { CODE, connect5, disconnected } from '../../helpers/mqtt5.ts';

test.each([
  { reason: 'expired', isClosing: false, code: 0xa0 },
  { reason: 'expired', isClosing: true, code: 0xa0 },
  { reason: 'revoked', isClosing: false, code: 0x98 },
  { reason: 'lost-rights', isClosing: false, code: 0x87 },
  { reason: 'closed', isClosing: true, code: 0x8b },
  { reason: 'closed', isClosing: false, code: 0x80 },
] as const)('$reason, closing: $isClosing is $code', ({ reason, isClosing, code }) => {
  expect(reasonCodeOfEnd(reason, isClosing)).toBe(code);
});

test('every reason code that is sent is one of an error', () => {
  for (const code of Object.values(REASON)) expect(code).toBeGreaterThanOrEqual(0x80);
});

test.each(TRANSPORTS)('I5: at exp an idle session over %s hears 0xA0', async (transport) => {
  const broker = await startGuardedBroker();
  const client = await broker.wire(transport);
  const token = await broker.issuer.token({ ttlSeconds: 60 });
  client.send(connectPacket(token, { protocolVersion: 5 }));
  await client.next('connack');
  await broker.clock.advance(59_000);
  client.send({ cmd: 'pingreq' });
  await client.next('pingresp');
  await broker.clock.advance(1_000);
  expect(await disconnected(client)).toBe(CODE.maximumConnectTime);
});

test('I4, I5: a subscriber gets no message at exp, but 0xA0', async () => {
  const broker = await startGuardedBroker();
  const ear = await connect5(broker, { ttlSeconds: 60 });
  ear.send(subscribePacket({ 'devices/t-42/x': 1 }));
  await ear.next('suback');
  broker.clock.set(broker.clock.now() + 60);
  const other = await connect5(broker, { clientId: 'pub', scope: 'pub:#' });
  other.send(publishPacket('devices/t-42/x', 1));
  expect(await disconnected(ear)).toBe(CODE.maximumConnectTime);
  expect(ear.packets.filter(({ cmd }) => cmd === 'publish')).toEqual([]);
});

test('the plugin closes: 0x8B, and a host reads the code too', async () => {
  const codes: unknown[] = [];
  const broker = await startGuardedBroker({
    before: (aedes) =>
      aedes.on('clientDisconnect', (client) =>
        codes.push((client as { disconnectReasonCode?: number }).disconnectReasonCode),
      ),
  });
  const client = await connect5(broker);
  await broker.latchkey.close();
  expect(await disconnected(client)).toBe(CODE.serverShuttingDown);
  expect(codes).toEqual([CODE.serverShuttingDown]);
});

test('a takeover: the first connection hears 0x8E', async () => {
  const broker = await startGuardedBroker();
  const first = await connect5(broker);
  await connect5(broker);
  expect(await disconnected(first)).toBe(CODE.sessionTakenOver);
});

async function withRegistry() {
  const clients = createMemoryClients(feedClient({ scope: 'pubsub:devices/t-42/#' }));
  clients.freshAt = createDrivenClock().now();
  return { clients, broker: await startGuardedBroker({ options: { clients } }) };
}

test.each(['revoked', 'suspended', 'deleted'] as const)(
  'I5: a client that is %s hears 0x98',
  async (status) => {
    const { clients, broker } = await withRegistry();
    const client = await connect5(broker);
    clients.put(feedClient({ status }));
    expect(await disconnected(client)).toBe(0x98);
  },
);

test('a client that loses a right it is using hears 0x87', async () => {
  const { clients, broker } = await withRegistry();
  const client = await connect5(broker, { scope: 'sub:devices/t-42/#' });
  client.send(subscribePacket({ 'devices/t-42/x': 1 }));
  await client.next('suback');
  clients.put(feedClient({ scope: 'sub:devices/t-42/other' }));
  expect(await disconnected(client)).toBe(CODE.notAuthorized);
});

test.each([
  {
    name: 'a packet beyond the bound',
    code: CODE.packetTooLarge,
    bytes: Buffer.from([0x30, 0x81, 0x80, 0x10]),
  },
  {
    name: 'a SUBSCRIBE with too many filters',
    code: CODE.quotaExceeded,
    bytes: encoded(
      subscribePacket(
        Object.fromEntries([...Array(101).keys()].map((i) => [`a/${i}`, 0 as const])),
      ),
      { protocolVersion: 5 },
    ),
  },
  { name: 'a malformed packet', code: 0x81, bytes: Buffer.from([0x36, 0x02, 0, 0]) },
])('$name: $code', async ({ code, bytes }) => {
  const broker = await startGuardedBroker();
  const client = await connect5(broker);
  client.send(bytes);
  expect(await disconnected(client)).toBe(code);
  expect(client.packets.filter(({ cmd }) => cmd === 'disconnect')).toHaveLength(1);
});

test('over 1,000 messages of QoS 2 that wait: 0x93', async () => {
  const broker = await startGuardedBroker();
  const client = await connect5(broker);
  for (let id = 1; id <= 1000; id += 1) {
    client.send(publishPacket('devices/t-42/x', 2, { messageId: id }));
    await client.next('pubrec');
  }
  client.send(publishPacket('devices/t-42/x', 2, { messageId: 1001 }));
  expect(await disconnected(client)).toBe(CODE.receiveMaximumExceeded);
});

const RENEW = '$latchkey/renew';

test('renewal works as in MQTT 3.1.1, by an alias too', async () => {
  const broker = await startGuardedBroker({ aedes: { topicAliasMaximum: 2 } as never });
  const heard = await broker.heard();
  const client = await connect5(broker, { ttlSeconds: 60 });
  for (const [index, topic] of [RENEW, ''].entries()) {
    await broker.clock.advance(50_000);
    const payload = await broker.issuer.token({ ttlSeconds: 60 });
    const renewal = publishPacket(topic, 1, { payload, messageId: index + 1 });
    client.send({ ...renewal, properties: { topicAlias: 1 } } as never);
    expect(await client.next('puback')).toMatchObject({ reasonCode: CODE.success });
  }
  expect(broker.log.all('session.renewed')).toHaveLength(2);
  expect(heard.filter((topic) => !topic.startsWith('$SYS'))).toEqual([]);
});

test.each([
  { name: 'a bad token', token: () => 'garbage' },
  {
    name: 'a token of another client',
    token: ({ issuer }: Awaited<ReturnType<typeof startGuardedBroker>>) =>
      issuer.token({ clientId: 't-43' }),
  },
])('[MQTT-4.12.1-2]: renewal with $name: PUBACK 0x87, then DISCONNECT 0x87', async ({ token }) => {
  const broker = await startGuardedBroker();
  const client = await connect5(broker);
  client.send(publishPacket(RENEW, 1, { payload: await token(broker) }));
  expect(await client.next('puback')).toMatchObject({
    reasonCode: CODE.notAuthorized,
    properties: { reasonString: 'not authorized to renew' },
  });
  expect(await disconnected(client)).toBe(CODE.notAuthorized);
});

test('a renewal at QoS 0 is refused with DISCONNECT 0x87 alone', async () => {
  const broker = await startGuardedBroker();
  const client = await connect5(broker);
  client.send(publishPacket(RENEW, 0, { payload: await broker.issuer.token() }));
  expect(await disconnected(client)).toBe(CODE.notAuthorized);
  expect(client.packets.map(({ cmd }) => cmd)).toEqual(['connack', 'disconnect']);
});

test('a renewal with fewer rights ends what they do not cover, and the session goes on', async () => {
  const broker = await startGuardedBroker();
  const client = await connect5(broker, { scope: 'sub:a/# sub:b/#' });
  client.send(subscribePacket({ 'a/x': 1, 'b/x': 1 }));
  await client.next('suback');
  const payload = await broker.issuer.token({ scope: 'sub:b/#' });
  client.send(publishPacket(RENEW, 1, { payload, messageId: 5 }));
  await client.next('puback');
  const other = await connect5(broker, { clientId: 'other', scope: 'pub:#' });
  other.send(publishPacket('a/x', 1), publishPacket('b/x', 1, { messageId: 2 }));
  expect(await client.next('publish')).toMatchObject({ topic: 'b/x' });
});
