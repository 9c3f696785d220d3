/** Nothing before CONNACK 0: STANDARDS 5.3 (1, 10) and 6, groups 17 and 18. */
import { Duplex, Readable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { createLatchkey } from '@latchkey/broker-plugin';
import { generateKey } from '@latchkey/shared';
import { expect, test } from 'vitest';
import { startGuardedBroker, TRANSPORTS } from '../helpers/guarded-broker.ts';
import { BROKER } from '../helpers/issuer-server.ts';
import { connectPacket, encoded, publishPacket, subscribePacket } from '../helpers/mqtt-wire.ts';

const ours = (topics: readonly string[]) => topics.filter((topic) => !topic.startsWith('$'));
const closed = (stream: Duplex): Promise<void> =>
  new Promise((resolve) => {
    if (stream.closed) resolve();
    else stream.once('close', () => resolve());
  });
/** More than one read of a socket. */
const padding = Array.from({ length: 20 }, (_, i) =>
  publishPacket(`devices/t-42/burst/${i}`, 0, { payload: 'x'.repeat(8000) }),
);

test.each(TRANSPORTS)(
  'trap 1, I3: over %s a burst of 160 KB behind a forged CONNECT has no effect, however long it is verified',
  async (transport) => {
    const broker = await startGuardedBroker({
      before: (aedes) => {
        aedes.preConnect = (client, _packet, callback) => {
          // A read between CONNECT and authentication, which Aedes answers by handling what it holds.
          // On a socket it takes load and luck; here it comes every time.
          process.nextTick(() => client.conn.push(encoded(publishPacket('devices/t-42/between'))));
          callback(null, true);
        };
      },
    });
    const heard = await broker.heard();
    await broker.log.event('keys.updated');
    // An unknown key id: the CONNECT waits for the issuer, with the burst behind it.
    const asked = new Promise<() => void>((resolve) => {
      broker.issuer.answer = (path, response) => {
        if (path !== '/jwks') return false;
        resolve(() => response.writeHead(500).end());
        return true;
      };
    });
    await broker.clock.advance(31_000);
    const client = await broker.wire(transport);
    const forged = await broker.issuer.token({ key: generateKey() });
    client.send(connectPacket(forged));
    const answer = await asked;
    client.send(...padding, subscribePacket({ 'devices/t-42/#': 1 }));
    for (let i = 0; i < 50; i += 1) await turn();
    answer();
    await client.closed;
    await closed(broker.streams[0]!);
    // CONNACK itself may be lost: closing a socket with unread bytes resets it.
    expect(broker.log.all('connect.refused')).toMatchObject([{ returnCode: 3 }]);
    expect(ours(heard)).toEqual([]);
    // Not even asked about: what is behind CONNECT never reached the broker.
    expect(broker.log.all('publish.refused')).toEqual([]);
    expect(broker.log.all('subscribe.refused')).toEqual([]);
  },
);

test.each(TRANSPORTS)(
  'over %s a burst behind a good CONNECT is handled in full and in order, after CONNACK',
  async (transport) => {
    const broker = await startGuardedBroker();
    const heard = await broker.heard();
    const client = await broker.wire(transport);
    client.send(
      connectPacket(await broker.issuer.token()),
      ...padding,
      publishPacket('devices/t-42/last', 2),
    );
    await client.next('pubrec');
    expect(client.packets[0]).toMatchObject({ cmd: 'connack', returnCode: 0 });
    expect(ours(heard)).toEqual([
      ...padding.map((_, i) => `devices/t-42/burst/${i}`),
      'devices/t-42/last',
    ]);
  },
);

test.each(TRANSPORTS)(
  'over %s the guard is gone from the stream after CONNACK, and bytes pass unseen',
  async (transport) => {
    const broker = await startGuardedBroker();
    const client = await broker.wire(transport);
    client.send(connectPacket(await broker.issuer.token()));
    await client.next('connack');
    const stream = broker.streams[0]!;
    expect(stream.push).toBe(Readable.prototype.push);
    client.send(publishPacket('devices/t-42/big', 1, { payload: 'x'.repeat(100_000) }));
    await client.next('puback');
  },
);

test.each(TRANSPORTS)(
  'over %s a CONNECT that comes byte by byte is understood',
  async (transport) => {
    const broker = await startGuardedBroker();
    const client = await broker.wire(transport);
    for (const byte of encoded(connectPacket(await broker.issuer.token()))) {
      client.stream.write(Uint8Array.of(byte));
      await turn();
    }
    expect(await client.next('connack')).toMatchObject({ returnCode: 0 });
  },
);

test('trap 1, I3, I7: during a slow preConnect of the host every packet waits, then dies with the refusal', async () => {
  let decide: (() => void) | undefined;
  const asked = new Promise<void>((resolve) => {
    decide = resolve;
  });
  let refuse: (() => void) | undefined;
  const broker = await startGuardedBroker({
    before: (aedes) => {
      aedes.preConnect = (_client, _packet, callback) => {
        refuse = () => callback(new Error('no'), false);
        decide?.();
      };
    },
  });
  const heard = await broker.heard();
  const client = await broker.wire();
  client.send(connectPacket(await broker.issuer.token()));
  await asked;
  client.send(publishPacket('devices/t-42/early'));
  client.send(subscribePacket({ '#': 1 }));
  for (let i = 0; i < 20; i += 1) await turn();
  expect(client.stream.destroyed).toBe(false);
  refuse?.();
  await client.closed;
  expect(ours(heard)).toEqual([]);
  expect(client.packets).toEqual([]);
  expect(broker.log.all('publish.refused')).toEqual([]);
  expect(broker.log.all('subscribe.refused')).toEqual([]);
});

// Aedes 1.2 stops reading while it authenticates, so this holds twice over.
test('I7: UNSUBSCRIBE, PUBREL and PUBACK of a stranger leave a stored session alone', async () => {
  const broker = await startGuardedBroker();
  const heard = await broker.heard();
  const token = await broker.issuer.token();
  const owner = await broker.connect(token, { clean: false });
  owner.send(subscribePacket({ 'devices/t-42/commands': 1 }));
  await owner.next('suback');
  owner.send(publishPacket('devices/t-42/x', 2, { messageId: 9 }));
  await owner.next('pubrec');
  owner.stream.destroy();
  await broker.log.event('session.closed');

  // The keys are slow, so the stranger waits in `authenticate` with the id of the owner.
  const asked = new Promise<() => void>((resolve) => {
    broker.issuer.answer = (path, response) => {
      if (path !== '/jwks') return false;
      resolve(() => response.writeHead(500).end());
      return true;
    };
  });
  await broker.clock.advance(31_000);
  const stranger = await broker.wire();
  const forged = await broker.issuer.token({ key: generateKey() });
  stranger.send(connectPacket(forged, { clean: false }));
  const answer = await asked;
  stranger.send(
    { cmd: 'unsubscribe', messageId: 1, unsubscriptions: ['devices/t-42/commands'] },
    { cmd: 'pubrel', messageId: 9 },
    { cmd: 'puback', messageId: 1 },
  );
  for (let i = 0; i < 20; i += 1) await turn();
  answer();
  await stranger.closed;
  broker.issuer.answer = () => false;

  const again = await broker.connect(token, { clean: false });
  expect(again.connack).toMatchObject({ sessionPresent: true });
  again.send(publishPacket('devices/t-42/x', 2, { messageId: 9, dup: true }));
  await again.next('pubrec');
  expect(ours(heard)).toEqual(['devices/t-42/x']);
});

test('I2: a connection that was not guarded is refused, and the log says what to do', async () => {
  const broker = await startGuardedBroker({ guard: (stream) => stream });
  const heard = await broker.heard();
  const client = await broker.wire();
  client.send(connectPacket(await broker.issuer.token()), publishPacket('devices/t-42/x'));
  await client.closed;
  expect(client.packets).toEqual([]);
  expect(ours(heard)).toEqual([]);
  const { detail } = await broker.log.event('connect.refused');
  expect(detail).toContain('latchkey.guard(stream)');
});

const lengthBytes = (length: number): number[] => {
  const bytes: number[] = [];
  for (let left = length; ; left = Math.floor(left / 128)) {
    bytes.push(left >= 128 ? (left % 128) | 0x80 : left);
    if (left < 128) return bytes;
  }
};

test.each([
  {
    name: 'a PUBLISH first',
    bytes: encoded(publishPacket('devices/t-42/x')),
    reason: 'not-connect',
  },
  { name: 'a PINGREQ first', bytes: [0xc0, 0], reason: 'not-connect' },
  { name: 'reserved flags', bytes: [0x11, 2, 0, 0], reason: 'not-connect' },
  { name: 'HTTP', bytes: Buffer.from('GET / HTTP/1.1\r\n\r\n'), reason: 'not-connect' },
  {
    name: 'a CONNECT of 256 MB',
    bytes: [0x10, ...lengthBytes(268_435_455)],
    reason: 'connect-too-large',
  },
  {
    name: 'a CONNECT of 16,385 bytes',
    bytes: [0x10, ...lengthBytes(16_385 - 3)],
    reason: 'connect-too-large',
  },
  {
    name: 'a length of five bytes',
    bytes: [0x10, 0xff, 0xff, 0xff, 0xff, 0x01],
    reason: 'connect-malformed',
  },
])('trap 10: $name is cut off at its header ($reason)', async ({ bytes, reason }) => {
  const broker = await startGuardedBroker();
  const client = await broker.wire();
  client.send(Uint8Array.from(bytes));
  await client.closed;
  expect(broker.log.all('connect.refused')).toMatchObject([{ reason }]);
});

test('a CONNECT of exactly 16,384 bytes is read', async () => {
  const broker = await startGuardedBroker();
  const client = await broker.wire();
  const token = await broker.issuer.token();
  const empty = encoded(
    connectPacket(token, { will: { topic: 'a', payload: Buffer.alloc(1) } as never }),
  );
  const payload = Buffer.alloc(16_384 - empty.length + 1);
  const packet = connectPacket(token, {
    will: { topic: 'a', payload, qos: 0, retain: false } as never,
  });
  const bytes = encoded(packet);
  expect(bytes.length).toBe(16_384);
  client.send(bytes);
  expect(await client.next('connack')).toMatchObject({ returnCode: 5 }); // the will's topic
});

test.each([
  { name: 'nothing at all', bytes: [] },
  { name: 'half a CONNECT', bytes: [0x10, 0x40, 0, 4] },
])(
  'trap 10: slowloris, $name, is closed at the connect timeout and not before',
  async ({ bytes }) => {
    const broker = await startGuardedBroker();
    const client = await broker.wire();
    if (bytes.length > 0) client.send(Uint8Array.from(bytes));
    await turn();
    while (broker.streams.length === 0) await turn();
    await broker.clock.advance(9_000);
    expect(broker.streams[0]!.destroyed).toBe(false);
    await broker.clock.advance(1_000);
    await client.closed;
    expect(broker.log.all('connect.refused')).toMatchObject([{ reason: 'connect-timeout' }]);
  },
);

test('trap 10: a preConnect of the host that never answers is closed in the end', async () => {
  let asked: (() => void) | undefined;
  const isAsked = new Promise<void>((resolve) => {
    asked = resolve;
  });
  const broker = await startGuardedBroker({
    before: (aedes) => {
      aedes.preConnect = () => asked?.();
    },
  });
  const client = await broker.wire();
  client.send(connectPacket(await broker.issuer.token()));
  await isAsked;
  await broker.clock.advance(15_000);
  await client.closed;
});

/** A stream whose source ignores back-pressure, as a badly behaved wrapper might. */
function source(): Duplex {
  return new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() });
}

test('I11: what waits behind CONNECT is bounded even when the source does not stop', async () => {
  const latchkey = createLatchkey({ issuer: 'https://id.example', audience: BROKER });
  const stream = latchkey.guard(source());
  expect(stream.push(encoded(connectPacket('x')))).toBe(true);
  const chunk = Buffer.alloc(64 * 1024);
  let pushed = 0;
  while (!stream.destroyed && pushed < 100) {
    expect(stream.push(chunk)).toBe(false);
    pushed += 1;
  }
  expect(pushed).toBe(7); // 262,144 + 131,072 bytes, and one chunk too many
  await latchkey.close();
});

test('the end of the stream and its errors pass through the guard', async () => {
  const latchkey = createLatchkey({ issuer: 'https://id.example', audience: BROKER });
  const ended = latchkey.guard(source());
  const end = new Promise<void>((resolve) => ended.once('end', () => resolve()));
  ended.resume();
  ended.push(null);
  await end;
  const failed = latchkey.guard(source());
  const error = new Promise((resolve) => failed.once('error', resolve));
  failed.destroy(new Error('reset'));
  expect(await error).toMatchObject({ message: 'reset' });
  await latchkey.close();
});

test('bytes that came before the guard do not slip past it', async () => {
  const broker = await startGuardedBroker({
    guard: (stream, latchkey) => {
      stream.unshift(encoded(publishPacket('devices/t-42/early')));
      return latchkey.guard(stream);
    },
  });
  const client = await broker.wire();
  await client.closed;
  expect(broker.log.all('connect.refused')).toMatchObject([{ reason: 'not-connect' }]);
});

test('a client that ends its side right behind its last message still has it delivered', async () => {
  const broker = await startGuardedBroker();
  const heard = await broker.heard();
  const client = await broker.wire();
  client.send(connectPacket(await broker.issuer.token()), publishPacket('devices/t-42/x', 1));
  client.stream.end();
  await client.closed;
  expect(ours(heard)).toEqual(['devices/t-42/x']);
});

test('a connection that is guarded after close is destroyed', async () => {
  const latchkey = createLatchkey({ issuer: 'https://id.example', audience: BROKER });
  const waiting = latchkey.guard(source());
  await latchkey.close();
  expect(waiting.destroyed).toBe(true);
  expect(latchkey.guard(source()).destroyed).toBe(true);
});
