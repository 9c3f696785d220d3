/** Renewal in the session: DESIGN 4; I1, I2, I4, I5, I7. */
import type { Socket } from 'node:net';
import { generateKey } from '@latchkey/shared';
import { connectAsync } from 'mqtt';
import { expect, onTestFinished, test } from 'vitest';
import { type GuardedBroker, startGuardedBroker } from '../helpers/guarded-broker.ts';
import type { TokenRequest } from '../helpers/issuer-server.ts';
import { publishPacket, subscribePacket, type WireClient } from '../helpers/mqtt-wire.ts';

const RENEW = '$latchkey/renew';
const ours = (topics: readonly string[]) => topics.filter((topic) => !topic.startsWith('$SYS'));

const renewal = (token: string, options: { messageId?: number; dup?: boolean } = {}) =>
  publishPacket(RENEW, 1, { payload: token, messageId: 900, ...options });

async function renew(broker: GuardedBroker, client: WireClient, token: TokenRequest = {}) {
  const text = await broker.issuer.token(token);
  client.send(renewal(text));
  await client.next('puback');
  return text;
}

async function publishAll(broker: GuardedBroker, topics: readonly string[]) {
  const client = await broker.connect({ clientId: 'pub', scope: 'pub:#' });
  for (const [i, topic] of topics.entries()) {
    client.send(publishPacket(topic, 1, { messageId: i + 1 }));
    await client.next('puback');
  }
  client.send({ cmd: 'disconnect' });
  await client.closed;
}

const received = ({ packets }: WireClient) =>
  packets.flatMap((packet) => (packet.cmd === 'publish' ? [packet.topic] : []));

/** Resolves when everything that the client sent before was answered. */
async function settled(client: WireClient): Promise<void> {
  client.send({ cmd: 'pingreq' });
  await client.next('pingresp');
}

test('a renewed session lives beyond the old exp, and ends at the new one', async () => {
  const broker = await startGuardedBroker();
  const client = await broker.connect({ ttlSeconds: 60 });
  await broker.clock.advance(50_000);
  await renew(broker, client, { ttlSeconds: 60, jti: 'a-new-token-0000' });
  expect(broker.log.all('session.renewed')).toMatchObject([
    { clientId: 't-42', jti: 'a-new-token-0000', expiresAt: broker.clock.now() + 60 },
  ]);
  await broker.clock.advance(59_000);
  client.send(publishPacket('devices/t-42/x', 1, { messageId: 7 }));
  expect(await client.next('puback')).toMatchObject({ messageId: 7 });
  await broker.clock.advance(1_000);
  await client.closed;
  expect(broker.log.all('session.expired')).toHaveLength(1);
});

test('I5: a session that is renewed with a shorter life ends with it', async () => {
  const broker = await startGuardedBroker();
  const client = await broker.connect({ ttlSeconds: 600 });
  await renew(broker, client, { ttlSeconds: 60 });
  await broker.clock.advance(60_000);
  await client.closed;
});

test('the new rights count from PUBACK on, the old ones no more', async () => {
  const broker = await startGuardedBroker();
  const heard = await broker.heard();
  const client = await broker.connect({ scope: 'pub:old' });
  await renew(broker, client, { scope: 'pub:new' });
  client.send(publishPacket('new', 1, { messageId: 1 }));
  await client.next('puback');
  client.send(publishPacket('old', 1, { messageId: 2 }));
  await client.closed;
  expect(ours(heard)).toEqual(['new']);
});

test('packets behind a renewal are judged by the old rights, in order, until it is decided', async () => {
  const broker = await startGuardedBroker();
  const heard = await broker.heard();
  const client = await broker.connect({ scope: 'pub:old/+' });
  const token = await broker.issuer.token({ scope: 'pub:new' });
  client.send(
    publishPacket('old/1', 1, { messageId: 1 }),
    renewal(token),
    publishPacket('old/2', 1, { messageId: 2 }),
    publishPacket('old/3', 1, { messageId: 3 }),
  );
  for (let i = 0; i < 4; i += 1) await client.next('puback');
  expect(ours(heard)).toEqual(['old/1', 'old/2', 'old/3']);
  client.send(publishPacket('new', 1, { messageId: 4 }));
  await client.next('puback');
  expect(ours(heard)).toHaveLength(4);
});

test('I2: a publication that needs the new rights, sent before PUBACK, is refused', async () => {
  const broker = await startGuardedBroker();
  const heard = await broker.heard();
  const client = await broker.connect({ scope: 'pub:old' });
  client.send(
    renewal(await broker.issuer.token({ scope: 'pub:new' })),
    publishPacket('new', 1, { messageId: 1 }),
  );
  await client.closed;
  expect(ours(heard)).toEqual([]);
});

test.each([
  { name: 'a clean session', clean: true },
  { name: 'a stored session', clean: false },
])(
  'I4: subscriptions of $name that the new rights do not cover end, the others stay',
  async (row) => {
    const broker = await startGuardedBroker();
    const client = await broker.connect({ scope: 'sub:a sub:b sub:c/#' }, { clean: row.clean });
    client.send(subscribePacket({ a: 1, b: 0, 'c/x': 1, 'c/#': 1 }));
    await client.next('suback');
    await renew(broker, client, { scope: 'sub:a sub:c/+' });
    const live = () =>
      Object.keys(
        (broker.streams[0] as unknown as { client: { subscriptions: object } }).client
          .subscriptions,
      );
    expect(live().sort()).toEqual(['a', 'c/x']);
    await publishAll(broker, ['b', 'c/x/y', 'a', 'c/x']);
    await client.next('publish');
    await client.next('publish');
    await settled(client);
    expect(received(client).sort()).toEqual(['a', 'c/x']);
    expect(broker.log.all('session.renewed')).toMatchObject([{ endedSubscriptions: 2 }]);

    // Nothing of the rest was stored or queued for later either.
    client.stream.destroy();
    await broker.log.event('session.closed', { clientId: 't-42' });
    await publishAll(broker, ['b', 'c/x/y', 'a']);
    const again = await broker.connect({ scope: 'sub:#' }, { clean: false });
    if (!row.clean) await again.next('publish');
    await settled(again);
    expect([...new Set(received(again))]).toEqual(row.clean ? [] : expect.arrayContaining(['a']));
    expect(received(again)).not.toContain('b');
    expect(received(again)).not.toContain('c/x/y');
  },
);

test('I4: a subscription with a higher QoS than the new rights allow ends', async () => {
  const broker = await startGuardedBroker();
  const client = await broker.connect({ scope: 'sub:a' });
  client.send(subscribePacket({ a: 1 }));
  await client.next('suback');
  await renew(broker, client, { scope: 'sub;qos=0:a' });
  await publishAll(broker, ['a']);
  await settled(client);
  expect(received(client)).toEqual([]);
});

test('I4: what was queued under the old rights is not delivered under the new ones', async () => {
  const broker = await startGuardedBroker();
  const first = await broker.connect({ scope: 'sub:a sub:b' }, { clean: false });
  first.send(subscribePacket({ a: 1, b: 1 }));
  await first.next('suback');
  // Delivered and not acknowledged: it stays in the queue of the session.
  await publishAll(broker, ['b']);
  await first.next('publish');
  await renew(broker, first, { scope: 'sub:a' });
  first.stream.destroy();
  await broker.log.event('session.closed', { clientId: 't-42' });
  await publishAll(broker, ['a']);
  const again = await broker.connect({ scope: 'sub:a' }, { clean: false });
  expect(await again.next('publish')).toMatchObject({ topic: 'a' });
  await settled(again);
  expect(received(again)).toEqual(['a']);
});

test('I4: a filter that a slow host grants after the renewal ends again, stored and live', async () => {
  const granted: (() => void)[] = [];
  const broker = await startGuardedBroker({
    before: (aedes) => {
      aedes.authorizeSubscribe = (_client, subscription, callback) => {
        granted.push(() => callback(null, subscription));
      };
    },
  });
  const client = await broker.connect({ scope: 'sub:b' }, { clean: false });
  client.send(subscribePacket({ b: 1 }));
  while (granted.length === 0) await new Promise((resolve) => setImmediate(resolve));
  await renew(broker, client, { scope: 'sub:a' });
  granted[0]?.();
  await client.next('suback');
  await publishAll(broker, ['b']);
  await settled(client);
  const { persistence } = broker.aedes as unknown as {
    persistence: { subscriptionsByClient(client: object): Promise<object[]> };
  };
  expect(await persistence.subscriptionsByClient({ id: 't-42' })).toEqual([]);
  expect(received(client)).toEqual([]);
  const { client: inner } = broker.streams[0] as unknown as { client: { subscriptions: object } };
  expect(Object.keys(inner.subscriptions)).toEqual([]);
});

test('a will that the new rights do not allow is not published when the session ends', async () => {
  const broker = await startGuardedBroker();
  const heard = await broker.heard();
  const wills = { a: 'pub:a', b: 'pub:b' };
  for (const [topic, scope] of Object.entries(wills)) {
    const will = { topic, payload: Buffer.from('gone'), qos: 1 as const, retain: false };
    const client = await broker.connect({ scope: 'pub:a pub:b' }, { will });
    await renew(broker, client, { scope: 'pub:b' });
    const after = broker.log.lines.length;
    client.stream.destroy();
    await broker.log.event('session.closed', {}, after);
    expect([topic, scope]).toHaveLength(2);
  }
  await publishAll(broker, ['marker']);
  expect(ours(heard)).toEqual(['b', 'marker']);
  expect(broker.log.all('publish.refused')).toMatchObject([{ topic: 'a', reason: 'no-scope' }]);
});

test('I1: nobody but the verifier sees the token: no hook, listener, store, emitter or log', async () => {
  const seen: unknown[] = [];
  const note = (...values: unknown[]) =>
    seen.push(
      ...values.map((value) =>
        JSON.stringify(value, (_key, part) =>
          part?.type === 'Buffer' ? Buffer.from(part.data).toString() : part,
        ),
      ),
    );
  const broker = await startGuardedBroker({
    before: (aedes) => {
      aedes.authorizePublish = (_client, packet, callback) => {
        note(packet);
        callback(null);
      };
      aedes.published = (packet, _client, callback) => {
        note(packet);
        callback(null);
      };
    },
  });
  const { aedes, issuer } = broker;
  const inner = aedes as unknown as {
    mq: { emit(packet: object, done?: () => void): unknown };
    persistence: Record<string, (...values: unknown[]) => unknown>;
  };
  const emit = inner.mq.emit;
  inner.mq.emit = (packet, done) => {
    note(packet);
    return emit.call(inner.mq, packet, done);
  };
  for (const name of [
    'storeRetained',
    'outgoingEnqueueCombi',
    'outgoingEnqueue',
    'incomingStorePacket',
  ]) {
    const real = inner.persistence[name] as (...values: unknown[]) => unknown;
    inner.persistence[name] = (...values) => {
      note(...values);
      return real.apply(inner.persistence, values);
    };
  }
  // A host that wraps `publish` after the plugin is in meets the packet, without the token.
  const wrapped: string[] = [];
  const { publish } = aedes;
  aedes.publish = (packet, ...rest: unknown[]) => {
    if (packet.topic === RENEW) wrapped.push(packet.payload.toString());
    else note(packet);
    Reflect.apply(publish, aedes, [packet, ...rest]);
  };
  aedes.on('publish', (packet) => note(packet));
  for (const event of ['clientError', 'connectionError'] as const) {
    aedes.on(event, (_client, error) => note({ ...error, message: error.message }));
  }
  const ear = await broker.connect({ clientId: 'ear', scope: 'sub:#' }, { clean: false });
  ear.send(subscribePacket({ '#': 1 }));
  await ear.next('suback');

  const good = await issuer.token();
  const tokens = [good];
  const client = await broker.connect();
  client.send(renewal(good));
  await client.next('puback');
  for (const [qos, retain] of [
    [0, false],
    [2, false],
    [1, true],
    [1, false],
  ] as const) {
    const bad = await issuer.token(qos === 1 && !retain ? { clientId: 't-43' } : {});
    tokens.push(bad);
    const other = await broker.connect();
    other.send(publishPacket(RENEW, qos, { payload: bad, retain, messageId: 3 }));
    await other.closed;
  }
  await publishAll(broker, ['marker']);
  await ear.next('publish');
  const all = `${seen.join('\n')}\n${broker.log.text()}`;
  expect(all).toContain('marker');
  expect(wrapped).toEqual(['']);
  expect(seen.join('\n')).not.toContain(RENEW);
  for (const token of tokens)
    for (const part of token.split('.').slice(1)) expect(all).not.toContain(part);
  expect(received(ear)).toEqual(['marker']);
});

const HOUR = 3600;
test.each<{
  name: string;
  token?: TokenRequest | string;
  qos?: 0 | 1 | 2;
  retain?: boolean;
  reason: string;
  detail: RegExp;
}>([
  { name: 'QoS 0', qos: 0, reason: 'invalid_request', detail: /QoS 0/ },
  { name: 'QoS 2', qos: 2, reason: 'invalid_request', detail: /QoS 2/ },
  { name: 'retain', retain: true, reason: 'invalid_request', detail: /retain/ },
  { name: 'no token', token: '', reason: 'invalid_token', detail: /no token/ },
  { name: 'no JWT', token: 'guess', reason: 'invalid_token', detail: /malformed/ },
  { name: 'too much', token: 'a'.repeat(8193), reason: 'invalid_token', detail: /too long/ },
  { name: 'a foreign key', token: { key: generateKey() }, reason: 'invalid_token', detail: /key/ },
  {
    name: 'another client',
    token: { clientId: 't-43' },
    reason: 'insufficient_scope',
    detail: /client-id/,
  },
  {
    name: 'another resource',
    token: { audience: 'mqtts://other.example' as never },
    reason: 'insufficient_scope',
    detail: /audience/,
  },
  {
    name: 'another issuer',
    token: { issuer: 'https://other.example' as never },
    reason: 'invalid_token',
    detail: /issuer/,
  },
  {
    name: 'an expired token',
    token: { issuedAt: 1_760_000_000 - 60, expiresAt: 1_760_000_000 },
    reason: 'invalid_token',
    detail: /expired/,
  },
  {
    name: 'an older token, by one second',
    token: { issuedAt: 1_760_000_000 - 1, scope: 'pub:#' },
    reason: 'invalid_token',
    detail: /older/,
  },
])('I2, I7: a renewal with $name closes the connection and changes nothing', async (row) => {
  const broker = await startGuardedBroker();
  const client = await broker.connect({ ttlSeconds: HOUR });
  const { token = {}, qos = 1, retain = false, reason, detail } = row;
  const payload = typeof token === 'string' ? token : await broker.issuer.token(token);
  client.send(publishPacket(RENEW, qos, { payload, retain, messageId: 5 }));
  await client.closed;
  expect(client.packets.map(({ cmd }) => cmd)).toEqual(['connack']);
  expect(broker.log.all('session.renewed')).toEqual([]);
  expect(broker.log.all('renew.refused')).toMatchObject([
    { clientId: 't-42', reason, detail: expect.stringMatching(detail) },
  ]);
});

test('a token issued in the same second renews, the very same token too', async () => {
  const broker = await startGuardedBroker();
  const token = await broker.issuer.token();
  const client = await broker.connect(token);
  for (const dup of [false, true]) {
    client.send(renewal(token, { dup }));
    await client.next('puback');
  }
});

test('I11: a second renewal while one is under way closes the connection', async () => {
  const broker = await startGuardedBroker();
  const client = await broker.connect();
  const token = await broker.issuer.token();
  client.send(renewal(token, { messageId: 1 }), renewal(token, { messageId: 2 }));
  await client.closed;
  expect(broker.log.all('renew.refused')[0]).toMatchObject({
    reason: 'invalid_request',
    detail: 'a renewal is under way already',
  });
  expect(broker.log.all('session.renewed')).toEqual([]);
});

/** Keys of the issuer that are asked for and do not come. */
async function withSilentIssuer(ttlSeconds: number) {
  const broker = await startGuardedBroker({
    options: { limits: { authenticateTimeoutMs: 5_000 } },
  });
  const client = await broker.connect({ ttlSeconds });
  const next = generateKey();
  const isAsked = new Promise<void>((resolve) => {
    broker.issuer.answer = () => {
      resolve();
      return true;
    };
  });
  broker.clock.set(broker.clock.now() + 31); // it may look again
  client.send(renewal(await broker.issuer.token({ key: next })));
  await isAsked;
  return { broker, client };
}

test('I2, I11: a renewal that cannot be decided in time closes the connection', async () => {
  const { broker, client } = await withSilentIssuer(900);
  await broker.clock.advance(5_000);
  await client.closed;
  expect(broker.log.all('renew.refused')).toMatchObject([{ reason: 'temporarily_unavailable' }]);
});

test('I5: a renewal under way does not keep a session beyond exp', async () => {
  const { broker, client } = await withSilentIssuer(33);
  await broker.clock.advance(2_000);
  await client.closed;
  expect(broker.log.all('session.expired')).toHaveLength(1);
  expect(broker.log.all('session.renewed')).toEqual([]);
});

test('I5: a renewal at exp is refused even before the sweep comes by', async () => {
  const broker = await startGuardedBroker();
  const client = await broker.connect({ ttlSeconds: 60 });
  broker.clock.set(broker.clock.now() + 60);
  client.send(renewal(await broker.issuer.token()));
  await client.closed;
  expect(broker.log.all('renew.refused')).toMatchObject([
    { detail: expect.stringMatching(/expired/) },
  ]);
});

test.each([RENEW, '$latchkey/#', '$latchkey/+', '#'])(
  'I1: nobody subscribes to %s',
  async (filter) => {
    const broker = await startGuardedBroker();
    const ear = await broker.connect({ clientId: 'ear', scope: 'sub:# sub:$latchkey/#' });
    ear.send(subscribePacket({ [filter]: 1 }));
    await ear.next('suback');
    const client = await broker.connect();
    await renew(broker, client);
    await publishAll(broker, ['marker']);
    await settled(ear);
    expect(received(ear).filter((topic) => topic !== 'marker')).toEqual([]);
  },
);

test('a will for the topic of renewals is refused at CONNECT', async () => {
  const broker = await startGuardedBroker();
  const will = { topic: RENEW, payload: Buffer.from('x'), qos: 1 as const, retain: false };
  const client = await broker.connect({ scope: 'pub:#' }, { will });
  expect(client.connack).toMatchObject({ returnCode: 5 });
});

test('the host itself cannot route anything through the topic of renewals', async () => {
  const broker = await startGuardedBroker();
  const heard = await broker.heard();
  const packet = {
    cmd: 'publish',
    topic: RENEW,
    payload: 'x',
    qos: 1,
    retain: true,
    dup: false,
  } as const;
  await new Promise<void>((resolve) => broker.aedes.publish(packet, () => resolve()));
  expect(ours(heard)).toEqual([]);
});

test('I10: 1,000 renewals under QoS 1 traffic lose, double and reorder nothing, and never close', async () => {
  const broker = await startGuardedBroker();
  const { issuer, clock, port } = broker;
  const device = await connectAsync({
    host: '127.0.0.1',
    port,
    clientId: 't-42',
    username: 't-42',
    password: await issuer.token({ ttlSeconds: 60 }),
    clean: false,
    reconnectPeriod: 0,
    keepalive: 60,
  });
  onTestFinished(() => void device.end(true));
  (device.stream as Socket).setNoDelay(true);
  let isClosed = false;
  device.on('close', () => {
    isClosed = true;
  });
  const numbers: number[] = [];
  device.on('message', (_topic, payload) => numbers.push(Number(payload)));
  await device.subscribeAsync('devices/t-42/#', { qos: 1 });
  const PER_RENEWAL = 5;
  let sent = 0;
  const burst = () =>
    Array.from({ length: PER_RENEWAL }, () => {
      sent += 1;
      return device.publishAsync(`devices/t-42/${sent % 7}`, String(sent), { qos: 1 });
    });
  for (let i = 0; i < 1000; i += 1) {
    clock.set(clock.now() + 1); // far beyond the first token in the end
    const token = await issuer.token({ ttlSeconds: 60 });
    await Promise.all([...burst(), device.publishAsync(RENEW, token, { qos: 1 }), ...burst()]);
  }
  while (numbers.length < sent && !isClosed)
    await new Promise((resolve) => device.once('message', resolve));
  expect(isClosed).toBe(false);
  expect(numbers).toEqual(Array.from({ length: sent }, (_, i) => i + 1));
  expect(broker.log.all('session.renewed')).toHaveLength(1000);
});
