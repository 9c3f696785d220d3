/** How an MQTT 5 client is let in or refused: STANDARDS 4.4, 6, groups 14, 16, 19 and 32. */
import { generateKey } from '@latchkey/shared';
import type { AedesOptions } from 'aedes';
import type { IConnectPacket } from 'mqtt-packet';
import { expect, test } from 'vitest';
import {
  type GuardedBroker,
  startGuardedBroker,
  TRANSPORTS,
} from '../../helpers/guarded-broker.ts';
import { connectPacket, publishPacket } from '../../helpers/mqtt-wire.ts';
import { CODE, connect5, disconnected, withoutUserName } from '../../helpers/mqtt5.ts';

test.each(TRANSPORTS)('a good token is accepted over %s', async (transport) => {
  const broker = await startGuardedBroker();
  const client = await broker.wire(transport);
  client.send(connectPacket(await broker.issuer.token(), { protocolVersion: 5 }));
  expect(await client.next('connack')).toMatchObject({
    reasonCode: CODE.success,
    properties: { sharedSubscriptionAvailable: false },
  });
  client.send(publishPacket('devices/t-42/x', 1));
  expect(await client.next('puback')).toMatchObject({ reasonCode: CODE.success });
});

test.each([
  { name: 'nothing', aedes: {}, receiveMaximum: 1000, maximumPacketSize: 262_149 },
  {
    name: 'tighter bounds',
    aedes: { receiveMaximum: 10, maximumPacketSize: 100_000 },
    receiveMaximum: 10,
    maximumPacketSize: 100_000,
  },
  {
    name: 'wider bounds',
    aedes: { receiveMaximum: 1001, maximumPacketSize: 262_150 },
    receiveMaximum: 1000,
    maximumPacketSize: 262_149,
  },
])(
  'the CONNACK tells the bounds when the host sets $name',
  async ({ aedes, receiveMaximum, maximumPacketSize }) => {
    const broker = await startGuardedBroker({ aedes: aedes as AedesOptions });
    expect((await connect5(broker)).connack.properties).toMatchObject({
      receiveMaximum,
      maximumPacketSize,
    });
  },
);

test('a bound below that of CONNECT is kept and not told', async () => {
  const broker = await startGuardedBroker({ options: { limits: { packetBytes: 100 } } });
  const client = await connect5(broker);
  expect(client.connack.properties).not.toHaveProperty('maximumPacketSize');
  client.send(publishPacket('devices/t-42/x', 0, { payload: 'x'.repeat(100) }));
  expect(await disconnected(client)).toBe(CODE.packetTooLarge);
});

test('MQTT 5 allows a password without a user name, so the token may come alone', async () => {
  const broker = await startGuardedBroker();
  const client = await broker.wire();
  client.send(withoutUserName(await broker.issuer.token()));
  expect(await client.next('connack')).toMatchObject({ reasonCode: CODE.success });
});

interface Refusal {
  readonly name: string;
  readonly code: number;
  readonly reason: string;
  readonly token?: (broker: GuardedBroker) => Promise<string> | string | undefined;
  readonly packet?: Partial<IConnectPacket>;
}

const will = (topic: string, more = {}) => ({
  will: { topic, payload: Buffer.from('x'), qos: 0 as const, retain: false, ...more },
});

const NOT_VALID = { code: CODE.badUserNameOrPassword, reason: 'the access token is not valid' };
const REFUSALS: readonly Refusal[] = [
  { name: 'no token', ...NOT_VALID, token: () => undefined },
  { name: 'garbage', ...NOT_VALID, token: () => 'garbage' },
  {
    name: 'a token signed with an unknown key',
    ...NOT_VALID,
    token: ({ issuer }) => issuer.token({ key: generateKey() }),
  },
  {
    name: 'an expired token',
    ...NOT_VALID,
    token: async ({ issuer, clock }) => {
      const token = await issuer.token({ ttlSeconds: 60 });
      await clock.advance(60_000);
      return token;
    },
  },
  {
    name: 'a token for another broker',
    code: CODE.notAuthorized,
    reason: 'the access token is for another resource',
    token: ({ issuer }) => issuer.token({ audience: 'mqtts://other.example' as never }),
  },
  {
    name: 'the client id of another client',
    code: CODE.notAuthorized,
    reason: 'the access token is of another client',
    packet: { clientId: 't-43' },
  },
  {
    name: 'group 16: an empty client id, which Aedes would fill in',
    code: CODE.clientIdNotValid,
    reason: 'the client identifier is not acceptable',
    packet: { clientId: '' },
  },
  {
    name: 'a will beyond the rights',
    code: CODE.notAuthorized,
    reason: 'the access token does not allow this will',
    packet: will('devices/t-43/gone'),
  },
  {
    name: 'a keep-alive of 0',
    code: CODE.notAuthorized,
    reason: 'the keep-alive is not allowed here',
    packet: { keepalive: 0 },
  },
];

test.each(REFUSALS)('$name: CONNACK $code and the reason', async ({ code, reason, ...refusal }) => {
  const broker = await startGuardedBroker();
  const token = refusal.token ? await refusal.token(broker) : await broker.issuer.token();
  const client = await broker.wire();
  client.send(connectPacket(token, { ...refusal.packet, protocolVersion: 5 }));
  const connack = await client.next('connack');
  expect(connack).toMatchObject({
    reasonCode: code,
    sessionPresent: false,
    properties: { reasonString: reason },
  });
  await client.closed;
  expect(client.packets).toHaveLength(1);
  expect(broker.log.all('connect.accepted')).toEqual([]);
  expect(broker.log.all('connect.refused')).toHaveLength(1);
});

test.each(TRANSPORTS)('a refusal reaches the client over %s', async (transport) => {
  const broker = await startGuardedBroker();
  const client = await broker.wire(transport);
  client.send(connectPacket('garbage', { protocolVersion: 5 }));
  const connack = await client.next('connack');
  expect(connack).toMatchObject({ reasonCode: CODE.badUserNameOrPassword });
  await client.closed;
});

test.each([
  { name: 'asked for no problem information', properties: { requestProblemInformation: false } },
  { name: 'takes packets of 36 bytes only', properties: { maximumPacketSize: 36 } },
])('a client that $name is told the code alone', async ({ properties }) => {
  const broker = await startGuardedBroker();
  const { connack } = await connect5(broker, 'garbage', { properties });
  expect(connack.reasonCode).toBe(CODE.badUserNameOrPassword);
  expect(connack).not.toHaveProperty('properties');
});

test('[MQTT-3.2.2-19]: a reason that just fits is sent', async () => {
  const broker = await startGuardedBroker();
  const { connack } = await connect5(broker, 'garbage', { properties: { maximumPacketSize: 37 } });
  expect(connack.properties).toEqual({ reasonString: 'the access token is not valid' });
});

test('keys that cannot be had: 0x88', async () => {
  const broker = await startGuardedBroker();
  broker.issuer.answer = (path, response) => {
    if (path === '/jwks') response.writeHead(500).end();
    return path === '/jwks';
  };
  const { connack } = await connect5(broker);
  expect(connack).toMatchObject({ reasonCode: CODE.serverUnavailable });
});

test.each([
  { method: 'ace', properties: { authenticationMethod: 'ace' } },
  {
    method: 'SCRAM-SHA-256',
    properties: {
      authenticationMethod: 'SCRAM-SHA-256',
      authenticationData: Buffer.from('n,,n=x'),
    },
  },
])(
  'group 19: the authentication method $method is refused with 0x8C, token or not',
  async (row) => {
    const broker = await startGuardedBroker();
    const { connack, closed } = await connect5(broker, {}, { properties: row.properties });
    expect(connack.reasonCode).toBe(CODE.badAuthenticationMethod);
    await closed;
    expect(broker.log.all('connect.accepted')).toEqual([]);
  },
);

test('group 19: an AUTH packet in a session closes the connection', async () => {
  const broker = await startGuardedBroker();
  const client = await connect5(broker);
  client.send({ cmd: 'auth', reasonCode: 0x19, properties: { authenticationMethod: 'ace' } });
  await client.closed;
});

test('group 19: a second CONNECT closes the connection', async () => {
  const broker = await startGuardedBroker();
  const token = await broker.issuer.token();
  const client = await connect5(broker, token);
  client.send(connectPacket(token, { protocolVersion: 5 }));
  await client.closed;
});

test('I3: what comes behind CONNECT waits for the CONNACK, and is dropped when that refuses', async () => {
  const broker = await startGuardedBroker();
  const heard = await broker.heard();
  const early = publishPacket('devices/t-42/early', 2);
  const refused = await broker.wire();
  refused.send(connectPacket('garbage', { protocolVersion: 5 }), early);
  await refused.closed;
  const accepted = await broker.wire();
  accepted.send(connectPacket(await broker.issuer.token(), { protocolVersion: 5 }), early);
  await accepted.next('pubrec');
  expect(accepted.packets[0]).toMatchObject({ cmd: 'connack' });
  expect(heard.filter((topic) => !topic.startsWith('$'))).toEqual(['devices/t-42/early']);
});

test('I7: a refused CONNECT of MQTT 5 with the id of another client leaves its session alone', async () => {
  const broker = await startGuardedBroker();
  const victim = await connect5(broker, {}, { properties: { sessionExpiryInterval: 3600 } });
  const stranger = await broker.wire();
  stranger.send(connectPacket('garbage', { protocolVersion: 5, clean: true }));
  await stranger.closed;
  victim.send({ cmd: 'pingreq' });
  await victim.next('pingresp');
  expect(broker.aedes.connectedClients).toBe(1);
});

test('a host hears of a refused MQTT 5 client as of any other', async () => {
  const errors: string[] = [];
  const broker = await startGuardedBroker({
    before: (aedes) =>
      aedes.on('clientError', (client, error) => errors.push(`${client.id}: ${error.message}`)),
  });
  const { closed } = await connect5(broker, 'garbage');
  await closed;
  expect(errors).toEqual(['t-42: the access token is not valid']);
});

test('group 32: no CONNACK of a refusal holds a part of the token', async () => {
  const broker = await startGuardedBroker();
  const token = await broker.issuer.token({ clientId: 't-43' });
  const sent: Buffer[] = [];
  const client = await broker.wire();
  client.stream.on('data', (chunk: Buffer) => sent.push(chunk));
  client.send(connectPacket(token, { protocolVersion: 5 }));
  await client.closed;
  const bytes = Buffer.concat(sent).toString('latin1');
  for (const part of token.split('.')) expect(bytes).not.toContain(part);
});

test('group 18: an address that failed too often is refused with 0x8A, unverified', async () => {
  const protection = { exemptAddresses: [], failuresPerClient: 1 };
  const broker = await startGuardedBroker({ options: { protection } });
  await connect5(broker, 'garbage');
  const { connack } = await connect5(broker, 'garbage');
  expect(connack).toMatchObject({
    reasonCode: CODE.banned,
    properties: { reasonString: 'too many refused connections' },
  });
});

test.each(['preConnect', 'authenticate'] as const)(
  'a host that sends a client elsewhere in %s is heard, and one that refuses without a place too',
  async (hook) => {
    const places = [{ serverReference: 'other.example', reasonCode: 0x9d }, undefined];
    const broker = await startGuardedBroker({
      before: (aedes) => {
        aedes[hook] = (...values: unknown[]) => {
          const answer = values.at(-1) as (error: Error, isAllowed: boolean) => void;
          answer(Object.assign(new Error('elsewhere'), places.shift()), false);
        };
      },
    });
    const moved = await connect5(broker);
    expect(moved.connack).toMatchObject({
      reasonCode: 0x9d,
      properties: { serverReference: 'other.example' },
    });
    const refused = await connect5(broker);
    expect(refused.connack).toMatchObject({
      reasonCode: CODE.notAuthorized,
      properties: { reasonString: 'refused by a hook of the host' },
    });
  },
);
