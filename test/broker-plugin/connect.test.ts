/** Who gets in: STANDARDS 6, groups 14, 16, 18 and 19. */

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createKeySigner, generateKey, signAssertion } from '@latchkey/shared';
import type { IConnectPacket } from 'mqtt-packet';
import { expect, test } from 'vitest';
import { isAedes2 } from '../helpers/aedes-version.ts';
import { type GuardedBroker, startGuardedBroker } from '../helpers/guarded-broker.ts';
import { BROKER } from '../helpers/issuer-server.ts';
import { signedJwt } from '../helpers/jwts.ts';
import { connectPacket, encoded, publishPacket, subscribePacket } from '../helpers/mqtt-wire.ts';

test('a good token is accepted, and the log says for whom and until when', async () => {
  const broker = await startGuardedBroker();
  const { connack } = await broker.connect();
  expect(connack).toMatchObject({ returnCode: 0, sessionPresent: false });
  expect(await broker.log.event('connect.accepted')).toMatchObject({
    clientId: 't-42',
    mqttClientId: 't-42',
    jti: expect.any(String),
    expiresAt: broker.clock.now() + 900,
    address: '127.0.0.1',
  });
});

interface Refusal {
  readonly name: string;
  readonly returnCode: number;
  readonly token: (broker: GuardedBroker) => Promise<string | undefined> | string | undefined;
  readonly packet?: Partial<IConnectPacket>;
}

const good = ({ issuer }: GuardedBroker) => issuer.token();
/** A token as it should be, with changes that `signAccessToken` does not make. */
const shaped = ({ issuer, clock }: GuardedBroker, header: object, claims: object): string =>
  signedJwt(
    { alg: 'EdDSA', typ: 'at+jwt', kid: issuer.key.publicKey.kid, ...header },
    {
      iss: issuer.issuer,
      sub: 't-42',
      client_id: 't-42',
      aud: BROKER,
      iat: clock.now(),
      exp: clock.now() + 900,
      jti: 'AAAAAAAAAAAAAAAAAAAAAA',
      scope: 'pub:devices/t-42/#',
      ...claims,
    },
    issuer.key,
  );
const withWill = (topic: string, will: object = {}): Partial<IConnectPacket> => ({
  will: { topic, payload: Buffer.from('gone'), qos: 0, retain: false, ...will },
});

test.each<Refusal>([
  { name: 'no token', returnCode: 4, token: () => undefined },
  { name: 'an empty token', returnCode: 4, token: () => '' },
  { name: 'garbage', returnCode: 4, token: () => 'not.a.token' },
  { name: 'a password of 9,000 bytes', returnCode: 4, token: () => 'a'.repeat(9000) },
  {
    name: 'a token signed by a stranger',
    returnCode: 4,
    token: ({ issuer }) => issuer.token({ key: generateKey() }),
  },
  {
    name: 'a token of another issuer',
    returnCode: 4,
    token: ({ issuer }) => issuer.token({ issuer: 'https://other.example' as never }),
  },
  {
    name: 'a token that expires now',
    returnCode: 4,
    token: async ({ issuer, clock }) => {
      const token = await issuer.token({ ttlSeconds: 60 });
      clock.set(clock.now() + 60);
      return token;
    },
  },
  {
    name: 'a token from the future',
    returnCode: 4,
    token: ({ issuer, clock }) =>
      issuer.token({ issuedAt: clock.now() + 61, expiresAt: clock.now() + 900 }),
  },
  {
    name: 'a changed signature',
    returnCode: 4,
    token: async (broker) => {
      const token = await good(broker);
      const [head, claims, signature] = token.split('.') as [string, string, string];
      return `${head}.${claims}.${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`;
    },
  },
  {
    name: 'a scope that cannot be read',
    returnCode: 4,
    token: ({ issuer }) => issuer.token({ scope: 'pub;qos=9:a' }),
  },
  {
    name: 'a token that is bound to a key, without a proof',
    returnCode: 4,
    token: (broker) => shaped(broker, {}, { cnf: { jkt: 'AAAA' } }),
  },
  {
    name: 'an assertion in place of a token',
    returnCode: 4,
    token: ({ issuer, clock }) =>
      signAssertion(createKeySigner(issuer.key), {
        clientId: 't-42' as never,
        issuer: issuer.issuer,
        now: clock.now(),
      }),
  },
  {
    name: 'a token of another type',
    returnCode: 4,
    token: (broker) => shaped(broker, { typ: 'JWT' }, {}),
  },
  {
    name: 'a token without exp',
    returnCode: 4,
    token: (broker) => shaped(broker, {}, { exp: undefined }),
  },
  {
    name: 'a token for another broker',
    returnCode: 5,
    token: ({ issuer }) => issuer.token({ audience: 'mqtts://other.example' as never }),
  },
  {
    name: 'a token of another client',
    returnCode: 5,
    token: ({ issuer }) => issuer.token({ clientId: 't-43' }),
  },
  { name: 'another user name', returnCode: 5, token: good, packet: { username: 't-43' } },
  { name: 'an appended instance', returnCode: 5, token: good, packet: { clientId: 't-42@1' } },
  { name: 'an instance of nothing', returnCode: 2, token: good, packet: { clientId: '@1' } },
  { name: 'an empty instance', returnCode: 2, token: good, packet: { clientId: 't-42@' } },
  { name: 'two instances', returnCode: 2, token: good, packet: { clientId: 't-42@1@2' } },
  {
    name: 'an instance with a slash',
    returnCode: 2,
    token: good,
    packet: { clientId: 't-42@a/b' },
  },
  {
    name: 'an instance of 33 characters',
    returnCode: 2,
    token: good,
    packet: { clientId: `t-42@${'a'.repeat(33)}` },
  },
  {
    name: 'the token as user name',
    returnCode: 4,
    token: () => '',
    packet: { username: 'eyJhbGciOiJFZERTQSJ9.e30.c2ln' },
  },
  { name: 'the id in capitals', returnCode: 5, token: good, packet: { clientId: 'T-42' } },
  { name: 'the id constructor', returnCode: 5, token: good, packet: { clientId: 'constructor' } },
  { name: 'the id __proto__', returnCode: 2, token: good, packet: { clientId: '__proto__' } },
  { name: 'no id, clean', returnCode: 2, token: good, packet: { clientId: '' } },
  { name: 'an id with a slash', returnCode: 2, token: good, packet: { clientId: 'a/b' } },
  { name: 'an id with +', returnCode: 2, token: good, packet: { clientId: 't-+' } },
  { name: 'an id with #', returnCode: 2, token: good, packet: { clientId: '#' } },
  { name: 'an id with $', returnCode: 2, token: good, packet: { clientId: '$SYS' } },
  { name: 'an id with NUL', returnCode: 2, token: good, packet: { clientId: 't-42\0' } },
  {
    name: 'an id of 65 characters',
    returnCode: 2,
    token: good,
    packet: { clientId: 'a'.repeat(65) },
  },
  { name: 'no keep-alive', returnCode: 5, token: good, packet: { keepalive: 0 } },
  {
    name: 'a will of a foreign topic',
    returnCode: 5,
    token: good,
    packet: withWill('devices/t-43/x'),
  },
  {
    name: 'a will with a wildcard',
    returnCode: 5,
    token: good,
    packet: withWill('devices/t-42/#'),
  },
  { name: 'a will with +', returnCode: 5, token: good, packet: withWill('devices/t-42/+') },
  { name: 'a will with NUL', returnCode: 5, token: good, packet: withWill('devices/t-42/\0') },
  {
    name: 'a will on $SYS',
    returnCode: 5,
    token: ({ issuer }) => issuer.token({ scope: 'pub:# pub:$SYS/#' }),
    packet: withWill('$SYS/other/new/clients'),
  },
  {
    name: 'a retained will without the right',
    returnCode: 5,
    token: ({ issuer }) => issuer.token({ scope: 'pub;retain=0:devices/t-42/#' }),
    packet: withWill('devices/t-42/x', { retain: true }),
  },
  {
    name: 'a will above the QoS allowed',
    returnCode: 5,
    token: ({ issuer }) => issuer.token({ scope: 'pub;qos=1:devices/t-42/#' }),
    packet: withWill('devices/t-42/x', { qos: 2 }),
  },
])(
  'traps 4, 5, 7, 12, 13; I7: $name is refused with return code $returnCode and closed',
  async (row) => {
    const broker = await startGuardedBroker();
    const client = await broker.wire();
    const token = await row.token(broker);
    client.send(connectPacket(token, row.packet));
    expect(await client.next('connack')).toMatchObject({ returnCode: row.returnCode });
    await client.closed;
    expect(broker.log.all('connect.refused')).toMatchObject([{ returnCode: row.returnCode }]);
    expect(broker.log.all('connect.accepted')).toEqual([]);
  },
);

/** The bytes of a CONNECT with other flags, or another protocol level. */
function patched(packet: IConnectPacket, at: number, byte: (old: number) => number): Uint8Array {
  const bytes = Buffer.from(encoded(packet));
  const lengthBytes = bytes.findIndex((value, i) => i > 0 && value < 0x80);
  const index = lengthBytes + 1 + at;
  bytes[index] = byte(bytes[index] as number);
  return bytes;
}
const LEVEL = 6;
const FLAGS = 7;

test.each([
  {
    name: 'trap 13: a password without a user name',
    details: ['a password without a user name'],
    bytes: (token: string) => {
      const packet = connectPacket(token, { username: '' });
      const bytes = patched(packet, FLAGS, (flags) => flags & 0x7f);
      // Takes the empty user name away, and its two bytes off the length.
      const at = Buffer.from(bytes).indexOf(packet.clientId) + packet.clientId.length;
      const cut = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 2)]);
      const length = (cut[1]! & 0x7f) + cut[2]! * 128 - 2;
      cut.set([(length & 0x7f) | 0x80, length >> 7], 1);
      return cut;
    },
  },
  {
    name: 'trap 5: a will of QoS 3',
    details: ['a will of QoS 3'],
    bytes: (token: string) =>
      patched(connectPacket(token, withWill('devices/t-42/x')), FLAGS, (flags) => flags | 0x18),
  },
  {
    name: 'trap 18: bridge mode',
    details: ['bridge mode is not offered'],
    bytes: (token: string) => patched(connectPacket(token), LEVEL, (level) => level | 0x80),
  },
  {
    name: 'protocol level 6',
    details: [], // the parser closes before any hook is asked
    bytes: (token: string) => patched(connectPacket(token), LEVEL, () => 6),
  },
])('$name closes the connection without an answer', async ({ bytes, details }) => {
  const broker = await startGuardedBroker();
  const client = await broker.wire();
  client.send(bytes(await broker.issuer.token()));
  await client.closed;
  expect(client.packets).toEqual([]);
  expect(broker.log.all('connect.accepted')).toEqual([]);
  expect(broker.log.all('connect.refused').map(({ detail }) => detail)).toEqual(details);
});

test('[MQTT-3.1.3-8]: no id and not clean is refused with return code 2', async () => {
  const broker = await startGuardedBroker();
  const client = await broker.wire();
  const packet = connectPacket(await broker.issuer.token(), { clientId: '' });
  client.send(patched(packet, FLAGS, (flags) => flags & ~0x02));
  expect(await client.next('connack')).toMatchObject({ returnCode: 2 });
  await client.closed;
});

test('MQTT 5 is answered with what the broker speaks: 1 by Aedes 1, 0 by Aedes 2', async () => {
  const broker = await startGuardedBroker();
  const { connack } = await broker.connect({}, { protocolVersion: 5 });
  expect(connack).toMatchObject({ reasonCode: isAedes2 ? 0 : 1 });
});

test('an MQTT 3.1 client with a good token gets in', async () => {
  const broker = await startGuardedBroker();
  const { connack } = await broker.connect({}, { protocolId: 'MQIsdp', protocolVersion: 3 });
  expect(connack.returnCode).toBe(0);
});

test('I1: a second CONNECT closes the connection, and no listener of the host sees its token', async () => {
  const seen: unknown[] = [];
  const broker = await startGuardedBroker({
    before: (aedes) => aedes.on('clientError', (_client, error) => seen.push(error)),
  });
  const token = await broker.issuer.token();
  const client = await broker.connect(token);
  client.send(connectPacket(token));
  await client.closed;
  expect(seen).toMatchObject([{ info: { cmd: 'connect', clientId: 't-42' } }]);
  expect((seen[0] as { info: object }).info).not.toHaveProperty('password');
  expect(broker.log.text()).not.toContain(token);
});

test('I7: a takeover by the same client closes the first connection once and keeps the second', async () => {
  const broker = await startGuardedBroker();
  const first = await broker.connect();
  const second = await broker.connect();
  await first.closed;
  second.send({ cmd: 'pingreq' });
  await second.next('pingresp');
  await broker.log.event('session.closed');
  expect(broker.log.all('session.closed')).toHaveLength(1);
});

test('[MQTT-3.1.4-2]: a takeover ends a connection that reads nothing at once', async () => {
  const broker = await startGuardedBroker();
  const protocolVersion = isAedes2 ? 5 : 4;
  const stalled = await broker.connect({}, { protocolVersion });
  stalled.send(subscribePacket({ 'devices/t-42/x': 0 }));
  await stalled.next('suback');
  stalled.stream.pause();
  const served = broker.streams[0]!;
  const other = await broker.connect({ clientId: 'other', scope: 'pub:#' });
  const payload = 'x'.repeat(200_000);
  for (let id = 1; !served.writableNeedDrain || served.writableLength < 400_000; id += 1) {
    other.send(publishPacket('devices/t-42/x', 1, { payload, messageId: (id % 60_000) + 1 }));
    await other.next('puback');
  }
  const closed = once(served, 'close');
  const second = await broker.connect({}, { protocolVersion });
  await closed;
  second.send({ cmd: 'pingreq' });
  await second.next('pingresp');
  expect(broker.log.all('session.closed')).toMatchObject([{ clientId: 't-42' }]);
});

test('I7: a CONNECT with the id of another client neither disconnects it nor lets its will out', async () => {
  const broker = await startGuardedBroker();
  const heard = await broker.heard();
  const victim = await broker.connect({}, withWill('devices/t-42/gone'));
  for (const token of ['forged', await broker.issuer.token({ clientId: 'mallory' })]) {
    const stranger = await broker.wire();
    stranger.send(connectPacket(token, withWill('devices/t-42/forged')));
    await stranger.closed;
  }
  victim.send(publishPacket('devices/t-42/still-here', 1));
  await victim.next('puback');
  expect(heard.filter((topic) => !topic.startsWith('$'))).toEqual(['devices/t-42/still-here']);
  expect(broker.aedes.connectedClients).toBe(1);
});

test('trap 9: a stranger cannot wipe the QoS 2 state of another client', async () => {
  const broker = await startGuardedBroker();
  const published: string[] = [];
  broker.aedes.on('publish', ({ topic, payload }) => {
    if (!topic.startsWith('$')) published.push(payload.toString());
  });
  const token = await broker.issuer.token();
  const first = await broker.connect(token, { clean: false });
  const message = publishPacket('devices/t-42/once', 2, { payload: 'exactly once', messageId: 7 });
  first.send(message);
  await first.next('pubrec');
  first.stream.destroy();
  await broker.log.event('session.closed');

  // One that is refused, and one that goes away while it is still being verified.
  const refused = await broker.wire();
  refused.send(connectPacket('forged', { clean: true }));
  await refused.closed;
  let answer: (() => void) | undefined;
  const asked = new Promise<void>((resolve) => {
    broker.issuer.answer = (path, response) => {
      if (path !== '/jwks') return false;
      answer = () => response.writeHead(500).end();
      resolve();
      return true;
    };
  });
  await broker.clock.advance(31_000);
  const gone = await broker.wire();
  gone.send(connectPacket(await broker.issuer.token({ key: generateKey() }), { clean: true }));
  await asked;
  const stream = broker.streams.at(-1)!;
  gone.stream.destroy();
  await once(stream, 'close');
  answer?.();

  const again = await broker.connect(token, { clean: false });
  again.send({ ...message, dup: true } as typeof message);
  await again.next('pubrec');
  again.send({ cmd: 'pubrel', messageId: 7 });
  await again.next('pubcomp');
  expect(published).toEqual(['exactly once']);
});

test('I7: a refused CONNECT with clean set leaves the stored session of its id alone', async () => {
  const broker = await startGuardedBroker();
  const token = await broker.issuer.token();
  const owner = await broker.connect(token, { clean: false });
  owner.send(subscribePacket({ 'devices/t-42/x': 1 }));
  await owner.next('suback');
  owner.stream.destroy();
  await broker.log.event('session.closed');
  for (const forged of ['forged', await broker.issuer.token({ clientId: 'mallory' })]) {
    const stranger = await broker.wire();
    stranger.send(connectPacket(forged, { clean: true }));
    await stranger.closed;
  }
  const other = await broker.connect({ clientId: 'pub', scope: 'pub:#' });
  other.send(publishPacket('devices/t-42/x', 1));
  await other.next('puback');
  const again = await broker.connect(token, { clean: false });
  expect(again.connack).toMatchObject({ returnCode: 0, sessionPresent: true });
  expect(await again.next('publish')).toMatchObject({ topic: 'devices/t-42/x' });
});

test('a clean session still ends its own QoS 2 state with the connection', async () => {
  const broker = await startGuardedBroker();
  const published: string[] = [];
  broker.aedes.on('publish', ({ topic }) => {
    if (!topic.startsWith('$')) published.push(topic);
  });
  for (let i = 1; i <= 2; i += 1) {
    const client = await broker.connect();
    client.send(publishPacket('devices/t-42/x', 2, { messageId: 7 }));
    await client.next('pubrec');
    client.stream.destroy();
    await broker.log.event('session.closed', {}, broker.log.lines.length - 1);
  }
  expect(published).toHaveLength(2);
});

test('the password does not stay in memory with the connection', async () => {
  let packet: IConnectPacket | undefined;
  const broker = await startGuardedBroker({
    before: (aedes) => {
      aedes.preConnect = (_client, connect, callback) => {
        packet = connect;
        callback(null, true);
      };
    },
  });
  await broker.connect();
  expect(packet?.clientId).toBe('t-42');
  expect(packet?.password).toBeUndefined();
});

test('I2: authentication that takes too long is refused with return code 3', async () => {
  const broker = await startGuardedBroker();
  const asked = new Promise<void>((resolve) => {
    broker.issuer.answer = (path) => {
      if (path !== '/jwks') return false;
      resolve();
      return true; // and never an answer
    };
  });
  await broker.clock.advance(31_000);
  const client = await broker.wire();
  client.send(connectPacket(await broker.issuer.token({ key: generateKey() })));
  await asked;
  await broker.clock.untilSleeping(5000);
  await broker.clock.advance(5000);
  expect(await client.next('connack')).toMatchObject({ returnCode: 3 });
  await client.closed;
});

test('one answer for all: a stranger cannot tell an unknown key from a bad signature', async () => {
  const broker = await startGuardedBroker();
  const answers = new Set<string>();
  const good = await broker.issuer.token();
  const other = await broker.issuer.token({ key: generateKey() });
  const swapped = `${good.slice(0, good.lastIndexOf('.'))}${other.slice(other.lastIndexOf('.'))}`;
  for (const token of [other, swapped, 'x.y.z']) {
    const client = await broker.wire();
    const chunks: Buffer[] = [];
    client.stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    client.send(connectPacket(token));
    await client.closed;
    answers.add(createHash('sha256').update(Buffer.concat(chunks)).digest('hex'));
  }
  expect(answers.size).toBe(1);
});

test('I5: a token that expires while it is verified is refused', async () => {
  const broker = await startGuardedBroker();
  await broker.log.event('keys.updated');
  const next = generateKey();
  const asked = new Promise<() => void>((resolve) => {
    broker.issuer.answer = (path, response) => {
      if (path !== '/jwks') return false;
      resolve(() => response.end(JSON.stringify({ keys: [next.publicKey.jwk] })));
      return true;
    };
  });
  await broker.clock.advance(31_000);
  const client = await broker.wire();
  client.send(connectPacket(await broker.issuer.token({ key: next, ttlSeconds: 60 })));
  const answer = await asked;
  broker.clock.set(broker.clock.now() + 60);
  answer();
  expect(await client.next('connack')).toMatchObject({ returnCode: 4 });
});
