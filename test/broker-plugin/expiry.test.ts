/** The end of a token is the end of its session: STANDARDS 5.3 (8, 16) and 6, groups 26 and 29. */

import { expect, test } from 'vitest';
import { createSessions } from '../../broker-plugin/src/sessions.ts';
import { createCapturedLog } from '../helpers/captured-log.ts';
import { createDrivenClock } from '../helpers/driven-clock.ts';
import { startGuardedBroker } from '../helpers/guarded-broker.ts';
import { publishPacket, subscribePacket } from '../helpers/mqtt-wire.ts';

const ours = (topics: readonly string[]) => topics.filter((topic) => !topic.startsWith('$'));

test('I5: an idle session lives until the last second before exp and is closed at exp', async () => {
  const broker = await startGuardedBroker();
  const client = await broker.connect({ ttlSeconds: 60 });
  await broker.clock.advance(59_000);
  client.send({ cmd: 'pingreq' });
  await client.next('pingresp');
  await broker.clock.advance(1_000);
  await client.closed;
  expect(broker.log.all('session.expired')).toMatchObject([{ clientId: 't-42' }]);
  expect(broker.log.all('session.closed')).toMatchObject([{ clientId: 't-42' }]);
});

test('I5: a publication at exp is refused even before the sweep comes by', async () => {
  const broker = await startGuardedBroker();
  const heard = await broker.heard();
  const client = await broker.connect({ ttlSeconds: 60 });
  broker.clock.set(broker.clock.now() + 59);
  client.send(publishPacket('devices/t-42/in-time', 2, { messageId: 1 }));
  await client.next('pubrec');
  broker.clock.set(broker.clock.now() + 1);
  client.send(publishPacket('devices/t-42/late', 1, { messageId: 2 }));
  await client.closed;
  expect(ours(heard)).toEqual(['devices/t-42/in-time']);
  expect(broker.log.all('publish.refused')).toMatchObject([{ reason: 'expired' }]);
});

test('I4, I5: a subscriber gets nothing at exp, and is closed by the first message', async () => {
  const broker = await startGuardedBroker();
  const ear = await broker.connect({ ttlSeconds: 60 });
  ear.send(subscribePacket({ 'devices/t-42/x': 1 }));
  await ear.next('suback');
  broker.clock.set(broker.clock.now() + 60);
  const other = await broker.connect({ clientId: 'pub', scope: 'pub:#' });
  other.send(publishPacket('devices/t-42/x', 1));
  await other.next('puback');
  await ear.closed;
  expect(ear.packets.filter(({ cmd }) => cmd === 'publish')).toEqual([]);
});

test('I5: a SUBSCRIBE at exp is refused', async () => {
  const broker = await startGuardedBroker();
  const client = await broker.connect({ ttlSeconds: 60 });
  broker.clock.set(broker.clock.now() + 60);
  client.send(subscribePacket({ 'devices/t-42/x': 0 }));
  expect(await client.next('suback')).toMatchObject({ granted: [128] });
});

test('I5: a PINGREQ at exp ends the session', async () => {
  const broker = await startGuardedBroker();
  const client = await broker.connect({ ttlSeconds: 60 });
  broker.clock.set(broker.clock.now() + 60);
  client.send({ cmd: 'pingreq' });
  await client.closed;
});

test('I5: a QoS 2 handshake under way at exp is cut off, and goes on with a new token', async () => {
  const broker = await startGuardedBroker();
  const heard = await broker.heard();
  const client = await broker.connect({ ttlSeconds: 60 }, { clean: false });
  client.send(publishPacket('devices/t-42/x', 2, { messageId: 5 }));
  await client.next('pubrec');
  await broker.clock.advance(60_000);
  await client.closed;
  const again = await broker.connect({ ttlSeconds: 60 }, { clean: false });
  again.send(publishPacket('devices/t-42/x', 2, { messageId: 5, dup: true }));
  await again.next('pubrec');
  again.send({ cmd: 'pubrel', messageId: 5 });
  await again.next('pubcomp');
  expect(ours(heard)).toEqual(['devices/t-42/x']);
});

test('a session reconnects with a new token and gets what waited for it', async () => {
  const broker = await startGuardedBroker();
  const client = await broker.connect({ ttlSeconds: 60 }, { clean: false });
  client.send(subscribePacket({ 'devices/t-42/x': 1 }));
  await client.next('suback');
  await broker.clock.advance(60_000);
  await client.closed;
  const other = await broker.connect({ clientId: 'pub', scope: 'pub:#' });
  other.send(publishPacket('devices/t-42/x', 1));
  await other.next('puback');
  const again = await broker.connect({ ttlSeconds: 60 }, { clean: false });
  expect(again.connack).toMatchObject({ sessionPresent: true });
  expect(await again.next('publish')).toMatchObject({ topic: 'devices/t-42/x' });
});

test('trap 8: a connection that the table of the broker has lost is closed at exp all the same', async () => {
  const broker = await startGuardedBroker();
  const client = await broker.connect({ ttlSeconds: 60 });
  delete (broker.aedes as unknown as { clients: Record<string, unknown> }).clients['t-42'];
  await broker.clock.advance(60_000);
  await client.closed;
});

test('trap 8: a slow emitter does not keep a connection open beyond exp', async () => {
  const broker = await startGuardedBroker();
  const client = await broker.connect({ ttlSeconds: 60 });
  client.send(subscribePacket({ 'devices/t-42/x': 0 }));
  await client.next('suback');
  (broker.aedes as unknown as { mq: { removeListener: unknown } }).mq.removeListener = () =>
    undefined;
  await broker.clock.advance(60_000);
  await client.closed;
});

const context = (expiresAt: number) => ({ clientId: 't-42', expiresAt }) as never;

test.each([
  { name: 'in 30 days', offset: 30 * 86_400 },
  { name: 'in 2^31 seconds', offset: 2 ** 31 },
  { name: 'in a second', offset: 1 },
])('trap 16: a token that expires $name ends its session at that second', async ({ offset }) => {
  const clock = createDrivenClock();
  const sessions = createSessions({ clock, logger: createCapturedLog(), notify: () => undefined });
  let isClosed = false;
  const expiresAt = clock.now() + offset;
  sessions.open({
    connection: {},
    context: context(expiresAt),
    will: undefined,
    disconnect: () => {
      isClosed = true;
    },
  });
  sessions.sweep();
  expect(isClosed).toBe(false);
  clock.set(expiresAt - 1);
  sessions.sweep();
  expect(isClosed).toBe(false);
  clock.set(expiresAt);
  sessions.sweep();
  expect(isClosed).toBe(true);
  expect(sessions.size).toBe(0);
});

test('a clock that goes back and forth loses no session', () => {
  const clock = createDrivenClock();
  const start = clock.now();
  const closed: number[] = [];
  const sessions = createSessions({ clock, logger: createCapturedLog(), notify: () => undefined });
  const open = (expiresAt: number) =>
    sessions.open({
      connection: {},
      context: context(expiresAt),
      will: undefined,
      disconnect: () => closed.push(expiresAt - start),
    });
  open(start + 100);
  clock.set(start + 90);
  sessions.sweep();
  clock.set(start - 1000);
  open(start + 10);
  sessions.sweep();
  clock.set(start + 50);
  sessions.sweep();
  expect(closed).toEqual([10]);
  clock.set(start + 1_000_000);
  sessions.sweep();
  expect(closed).toEqual([10, 100]);
});

test('a connection that fails to close does not keep the others open', () => {
  const clock = createDrivenClock();
  const log = createCapturedLog();
  const sessions = createSessions({ clock, logger: log, notify: () => undefined });
  let closed = 0;
  for (const fails of [true, false]) {
    const disconnect = () => {
      if (fails) throw new Error('socket');
      closed += 1;
    };
    sessions.open({
      ...{ connection: {}, context: context(clock.now() + 5), will: undefined, disconnect },
    });
  }
  clock.set(clock.now() + 5);
  sessions.sweep();
  expect(closed).toBe(1);
  expect(log.all('session.failed')).toHaveLength(1);
});

test('I5: close ends every session and every connection that waits', async () => {
  const broker = await startGuardedBroker();
  const client = await broker.connect();
  const waiting = await broker.wire();
  while (broker.streams.length < 2) await new Promise((resolve) => setImmediate(resolve));
  await broker.latchkey.close();
  await Promise.all([client.closed, waiting.closed]);
});

test('I11: thousands that expire in the same second end in slices, and each ends once', async () => {
  const clock = createDrivenClock();
  let ended = 0;
  const notify = () => undefined;
  const sessions = createSessions({ clock, logger: createCapturedLog(), notify });
  const expiresAt = clock.now() + 5;
  for (let i = 0; i < 2001; i += 1) {
    const session = sessions.open({
      ...{ connection: {}, context: context(expiresAt), will: undefined },
      disconnect: () => {
        ended += 1;
      },
    });
    sessions.begin(session);
  }
  clock.set(expiresAt);
  const perTurn: number[] = [];
  for (let before = 0; sessions.size > 0; before = ended) {
    sessions.sweep(); // the second of a slow machine may be over before the first sweep is
    await new Promise((resolve) => setImmediate(resolve));
    perTurn.push(ended - before);
  }
  expect(ended).toBe(2001);
  expect(Math.max(...perTurn)).toBeLessThanOrEqual(50);
});
