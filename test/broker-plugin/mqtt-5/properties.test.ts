/** Properties that no honest client sends: STANDARDS 6, groups 18, 21 and 29. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { propertiesProblem } from '../../../broker-plugin/src/packet-properties.ts';
import { type GuardedBroker, startGuardedBroker } from '../../helpers/guarded-broker.ts';
import { publishPacket, subscribePacket, type WireClient } from '../../helpers/mqtt-wire.ts';
import { CODE, connect5, disconnected } from '../../helpers/mqtt5.ts';

const text = (value: string) => Buffer.concat([Buffer.of(0, value.length), Buffer.from(value)]);
const four = (value: number) => Buffer.of(0, 0, value >> 8, value & 0xff);
const property = (type: number, ...value: Buffer[]) => Buffer.concat([Buffer.of(type), ...value]);

/** A retained PUBLISH of QoS 0 with these bytes for its properties. */
function publishWith(properties: Buffer, topic = 'devices/t-42/x'): Uint8Array {
  const body = Buffer.concat([text(topic), Buffer.of(properties.length), properties, Buffer.of(1)]);
  return Buffer.concat([Buffer.of(0x31, body.length), body]);
}

async function ears(broker: GuardedBroker): Promise<WireClient> {
  const ear = await connect5(broker, { clientId: 'ear', scope: 'sub:# pub:marker' });
  ear.send(subscribePacket({ '#': 0 }));
  await ear.next('suback');
  return ear;
}

async function topicsBeforeMarker(ear: WireClient): Promise<readonly string[]> {
  ear.send(publishPacket('marker', 1));
  let topic: string | undefined;
  while (topic !== 'marker') topic = (await ear.next('publish')).topic;
  return ear.packets.flatMap((packet) => (packet.cmd === 'publish' ? packet.topic : []));
}

test.each([
  { name: 'a property of CONNECT', bytes: property(0x11, four(60)) },
  { name: 'the delay of a will', bytes: property(0x18, four(60)) },
  { name: '[MQTT-3.3.4-6] a subscription identifier', bytes: property(0x0b, Buffer.of(7)) },
  { name: 'a property of CONNACK', bytes: property(0x12, text('t-43')) },
  {
    name: 'a content type that comes twice',
    bytes: Buffer.concat([property(0x03, text('a')), property(0x03, text('b'))]),
  },
  {
    name: 'an alias that comes twice',
    bytes: Buffer.concat([property(0x23, Buffer.of(0, 1)), property(0x23, Buffer.of(0, 2))]),
  },
  {
    name: 'a content type that is cut short',
    bytes: property(0x03, Buffer.of(0, 200, 65)),
    code: CODE.malformedPacket,
  },
  { name: 'a user property that is cut short', bytes: property(0x26, text('a'), Buffer.of(0, 99)) },
  { name: '[MQTT-1.5.4-2] NUL in a content type', bytes: property(0x03, text('a\0')) },
  { name: '[MQTT-1.5.4-2] NUL in a user property', bytes: property(0x26, text('a'), text('\0')) },
])('$name: the connection ends, and no subscriber sees it', async ({ bytes, code }) => {
  const broker = await startGuardedBroker({ aedes: { topicAliasMaximum: 9 } as never });
  const ear = await ears(broker);
  const client = await connect5(broker);
  client.send(publishWith(bytes));
  expect(await disconnected(client)).toBe(code ?? CODE.protocolError);
  expect(await topicsBeforeMarker(ear)).toEqual(['marker']);
  const late = await connect5(broker, { clientId: 'late', scope: 'sub:#' });
  late.send(subscribePacket({ 'devices/#': 0 }), { cmd: 'pingreq' });
  await late.next('pingresp');
  expect(late.packets.filter(({ cmd }) => cmd === 'publish')).toEqual([]);
});

test('whatever bytes stand for properties, no subscriber is cut off and the broker goes on', async () => {
  const broker = await startGuardedBroker();
  const ear = await ears(broker);
  const types = [0x01, 0x02, 0x03, 0x08, 0x09, 0x0b, 0x11, 0x18, 0x23, 0x26, 0x27];
  const bytes = fc
    .array(fc.tuple(fc.constantFrom(...types), fc.uint8Array({ maxLength: 9 })), { maxLength: 5 })
    .map((parts) =>
      Buffer.concat(parts.map(([type, value]) => Buffer.concat([Buffer.of(type), value]))),
    );
  await fc.assert(
    fc.asyncProperty(bytes, async (properties) => {
      const client = await connect5(broker);
      client.send(publishWith(properties), { cmd: 'pingreq' });
      await Promise.race([client.next('pingresp'), client.closed]).catch(() => undefined);
      client.stream.destroy();
    }),
    { numRuns: 200 },
  );
  expect((await topicsBeforeMarker(ear)).at(-1)).toBe('marker');
});

/** A CONNECT with these bytes for its properties, and a will with those for its own. */
function connectWith(token: string, properties: Buffer, willProperties?: Buffer): Uint8Array {
  const flags = willProperties === undefined ? 0xc2 : 0xc6;
  const password = Buffer.concat([Buffer.alloc(2), Buffer.from(token)]);
  password.writeUInt16BE(token.length);
  const will =
    willProperties === undefined
      ? []
      : [Buffer.of(willProperties.length), willProperties, text('devices/t-42/gone'), text('x')];
  const head = [text('MQTT'), Buffer.of(5, flags, 0, 60, properties.length), properties];
  const body = Buffer.concat([...head, text('t-42'), ...will, text('t-42'), password]);
  const length = Buffer.of((body.length & 0x7f) | 0x80, body.length >> 7);
  return Buffer.concat([Buffer.of(0x10), length, body]);
}

const twice = (bytes: Buffer) => Buffer.concat([bytes, bytes]);
const NONE = Buffer.alloc(0);

test.each([
  { name: 'a session expiry that comes twice', connect: twice(property(0x11, four(60))) },
  { name: 'a property of PUBLISH', connect: property(0x03, text('a')) },
  { name: 'a will whose delay comes twice', will: twice(property(0x18, four(60))) },
  { name: 'a will whose content type comes twice', will: twice(property(0x03, text('a'))) },
  { name: 'a will with a session expiry', will: property(0x11, four(60)) },
])('CONNECT with $name: CONNACK 0x82', async ({ connect = NONE, will }) => {
  const broker = await startGuardedBroker();
  const client = await broker.wire();
  client.send(connectWith(await broker.issuer.token(), connect, will));
  expect(await client.next('connack')).toMatchObject({ reasonCode: CODE.protocolError });
  await client.closed;
  expect(broker.log.all('connect.accepted')).toEqual([]);
});

test('a session expiry that comes twice in DISCONNECT ends this connection, and not the process', async () => {
  const broker = await startGuardedBroker();
  const client = await connect5(broker, {}, { properties: { sessionExpiryInterval: 60 } });
  const properties = twice(property(0x11, four(60)));
  client.send(
    Buffer.concat([Buffer.of(0xe0, 2 + properties.length, 0, properties.length), properties]),
  );
  expect(await disconnected(client)).toBe(CODE.protocolError);
  expect((await connect5(broker)).connack.reasonCode).toBe(CODE.success);
});

test.each(['constructor', 'toString', 'hasOwnProperty'])(
  'a client with the id %s comes, is taken over, and goes',
  async (clientId) => {
    const broker = await startGuardedBroker();
    const first = await connect5(broker, { clientId, scope: 'pubsub:#' });
    expect(first.connack.reasonCode).toBe(CODE.success);
    const second = await connect5(broker, { clientId, scope: 'pubsub:#' });
    expect(await disconnected(first)).toBe(CODE.sessionTakenOver);
    second.send({
      cmd: 'subscribe',
      messageId: 1,
      subscriptions: [
        { topic: 'constructor', qos: 0 },
        { topic: 'toString', qos: 1 },
        { topic: '__proto__/x', qos: 0 },
      ],
    });
    expect((await second.next('suback')).granted).toEqual([0, 1, 0]);
    second.send(publishPacket('constructor', 1));
    expect(await second.next('publish')).toMatchObject({ topic: 'constructor' });
  },
);

test.each([
  { packet: 'publish', properties: { contentType: 'a', userProperties: { a: ['b', 'c'] } } },
  { packet: 'publish', properties: { payloadFormatIndicator: false, messageExpiryInterval: 0 } },
  { packet: 'connect', properties: { receiveMaximum: 1, requestProblemInformation: false } },
  { packet: 'subscribe', properties: { subscriptionIdentifier: 1 } },
  { packet: 'pubrel', properties: { reasonString: '' } },
  { packet: 'will', properties: { willDelayInterval: 5, correlationData: Buffer.of(0) } },
])('the properties of $packet may be $properties', ({ packet, properties }) => {
  expect(propertiesProblem(packet, properties)).toBeUndefined();
});

test.each([
  { packet: 'publish', properties: { contentType: null } },
  { packet: 'publish', properties: { messageExpiryInterval: -1 } },
  { packet: 'publish', properties: { correlationData: null } },
  { packet: 'publish', properties: { userProperties: { a: ['b', null] } } },
  { packet: 'subscribe', properties: { subscriptionIdentifier: false } },
  { packet: 'subscribe', properties: { subscriptionIdentifier: [1, 2] } },
  { packet: 'pubrel', properties: { contentType: 'a' } },
  { packet: 'unsubscribe', properties: { reasonString: 'a' } },
  { packet: 'pingreq', properties: { reasonString: 'a' } },
  { packet: 'connack', properties: { reasonString: 'a' } },
])('the properties of $packet may not be $properties', ({ packet, properties }) => {
  expect(propertiesProblem(packet, properties)).toMatch(/property/);
});
