/** Wills and stored sessions of MQTT 5: STANDARDS 5.3 (3, 4), 6, groups 20, 25 and 27. */
import type { IConnectPacket } from 'mqtt-packet';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createDrivenClock } from '../../helpers/driven-clock.ts';
import { emitted, type GuardedBroker, startGuardedBroker } from '../../helpers/guarded-broker.ts';
import { createMemoryClients, feedClient } from '../../helpers/memory-clients.ts';
import { publishPacket, subscribePacket, type WireClient } from '../../helpers/mqtt-wire.ts';
import { connect5 } from '../../helpers/mqtt5.ts';

// Aedes measures the delay of a will and the life of a session with timers of its own.
beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }));
afterEach(() => void vi.useRealTimers());

const TOPIC = 'devices/t-42/gone';
const delayed = (willDelayInterval: number): Partial<IConnectPacket> => ({
  properties: { sessionExpiryInterval: 3600 },
  will: {
    topic: TOPIC,
    payload: Buffer.from('x'),
    qos: 1,
    retain: false,
    properties: { willDelayInterval, contentType: 'text/plain' },
  },
});

async function breakOff(broker: GuardedBroker, client: WireClient): Promise<void> {
  const gone = emitted(broker.aedes, 'clientDisconnect');
  client.stream.destroy();
  await gone;
  await broker.log.event('session.closed', { clientId: 't-42' });
}

/** Hears what is published from now on. */
async function listener(broker: GuardedBroker): Promise<WireClient> {
  const ear = await connect5(broker, { clientId: 'ear', scope: 'sub:# pub:marker' });
  ear.send(subscribePacket({ '#': 1 }));
  await ear.next('suback');
  return ear;
}

/** The topics that the listener got before one of its own. */
async function heardBy(ear: WireClient): Promise<readonly string[]> {
  ear.send(publishPacket('marker', 1));
  let topic: string | undefined;
  while (topic !== 'marker') topic = (await ear.next('publish')).topic;
  return ear.packets.flatMap((packet) => (packet.cmd === 'publish' ? packet.topic : []));
}

test('a delayed will is published after its delay, and its delay stays here', async () => {
  const broker = await startGuardedBroker();
  const ear = await listener(broker);
  await breakOff(broker, await connect5(broker, {}, delayed(60)));
  await vi.advanceTimersByTimeAsync(59_000);
  expect(ear.packets.filter(({ cmd }) => cmd === 'publish')).toEqual([]);
  await vi.advanceTimersByTimeAsync(1_000);
  const will = await ear.next('publish');
  expect(will).toMatchObject({ topic: TOPIC, properties: { contentType: 'text/plain' } });
  expect(will.properties).not.toHaveProperty('willDelayInterval');
});

test('a delayed will is published though its token has expired meanwhile (RFC 9431 5)', async () => {
  const broker = await startGuardedBroker();
  const ear = await listener(broker);
  await breakOff(broker, await connect5(broker, { ttlSeconds: 60 }, delayed(60)));
  broker.clock.set(broker.clock.now() + 61);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(await heardBy(ear)).toEqual([TOPIC, 'marker']);
});

test('a client that is back in time keeps its will in', async () => {
  const broker = await startGuardedBroker();
  const ear = await listener(broker);
  await breakOff(broker, await connect5(broker, {}, delayed(60)));
  await connect5(broker, {}, { clean: false, properties: { sessionExpiryInterval: 3600 } });
  await vi.advanceTimersByTimeAsync(61_000);
  expect(await heardBy(ear)).toEqual(['marker']);
});

test.each([
  { name: 'is revoked', changes: { status: 'revoked' } },
  { name: 'is suspended', changes: { status: 'suspended' } },
  { name: 'is deleted', changes: { status: 'deleted' } },
  { name: 'loses the right', changes: { scope: 'pub:devices/t-42/other' } },
  { name: 'has its tokens voided', changes: { tokensNotBefore: 4_000_000_000 } },
  { name: 'stays as it is', changes: {}, isPublished: true },
] as const)('I5: a delayed will of a client that $name meanwhile', async (row) => {
  const ears = feedClient({ id: 'ear', scope: 'sub:# pub:marker' });
  const clients = createMemoryClients(feedClient(), ears);
  clients.freshAt = createDrivenClock().now();
  const broker = await startGuardedBroker({ options: { clients } });
  const ear = await listener(broker);
  await breakOff(broker, await connect5(broker, {}, delayed(60)));
  clients.put(feedClient(row.changes));
  await vi.advanceTimersByTimeAsync(60_000);
  const isPublished = 'isPublished' in row;
  expect(await heardBy(ear)).toEqual(isPublished ? [TOPIC, 'marker'] : ['marker']);
});

test('DISCONNECT 0x04 lets an approved will out, and one that was renewed away stays in', async () => {
  const broker = await startGuardedBroker();
  const ear = await listener(broker);
  const { will } = delayed(0);
  const client = await connect5(broker, {}, { will: will as never });
  client.send({ cmd: 'disconnect', reasonCode: 0x04 });
  await client.closed;
  expect(await ear.next('publish')).toMatchObject({ topic: TOPIC });
  const second = await connect5(broker, {}, { will: will as never });
  const payload = await broker.issuer.token({ scope: 'pub:devices/t-42/other' });
  second.send(publishPacket('$latchkey/renew', 1, { payload }));
  await second.next('puback');
  second.send({ cmd: 'disconnect', reasonCode: 0x04 });
  await second.closed;
  expect(await heardBy(ear)).toEqual([TOPIC, 'marker']);
});

async function stored(broker: GuardedBroker): Promise<{ filters: number; queued: number }> {
  const { persistence } = broker.aedes as unknown as {
    persistence: {
      subscriptionsByClient(client: object): Promise<unknown[]>;
      outgoingStream(client: object): AsyncIterable<unknown>;
    };
  };
  let queued = 0;
  for await (const _ of persistence.outgoingStream({ id: 't-42' })) queued += 1;
  return { filters: (await persistence.subscriptionsByClient({ id: 't-42' })).length, queued };
}

test('a session is kept for its expiry interval, its queue too, and then wiped', async () => {
  const broker = await startGuardedBroker();
  const properties = { sessionExpiryInterval: 60 };
  const client = await connect5(broker, {}, { clean: false, properties });
  client.send(subscribePacket({ 'devices/t-42/x': 1 }));
  await client.next('suback');
  await breakOff(broker, client);
  const other = await connect5(broker, { clientId: 'other', scope: 'pub:#' });
  other.send(publishPacket('devices/t-42/x', 2));
  await other.next('pubrec');
  await vi.advanceTimersByTimeAsync(59_000);
  expect(await stored(broker)).toEqual({ filters: 1, queued: 1 });
  await vi.advanceTimersByTimeAsync(1_000);
  expect(await stored(broker)).toEqual({ filters: 0, queued: 0 });
});

test('a session without an expiry interval ends with its connection', async () => {
  const broker = await startGuardedBroker();
  const client = await connect5(broker, {}, { clean: false });
  client.send(subscribePacket({ 'devices/t-42/x': 1 }));
  await client.next('suback');
  await breakOff(broker, client);
  expect(await stored(broker)).toEqual({ filters: 0, queued: 0 });
});

test('I4: what waits for a session is decided by the rights of the token that resumes it', async () => {
  const broker = await startGuardedBroker();
  const resumed = { clean: false, properties: { sessionExpiryInterval: 60 } };
  const client = await connect5(broker, { scope: 'sub:a/# sub:b/#' }, resumed);
  client.send(subscribePacket({ 'a/x': 1, 'b/x': 1 }));
  await client.next('suback');
  await breakOff(broker, client);
  const other = await connect5(broker, { clientId: 'other', scope: 'pub:#' });
  other.send(publishPacket('a/x', 2), publishPacket('b/x', 2, { messageId: 2 }));
  await other.next('pubrec');
  await other.next('pubrec');
  const again = await connect5(broker, { scope: 'sub:b/#' }, resumed);
  expect(again.connack.sessionPresent).toBe(true);
  expect(await again.next('publish')).toMatchObject({ topic: 'b/x' });
  again.send({ cmd: 'pingreq' });
  await again.next('pingresp');
  expect(again.packets.filter(({ cmd }) => cmd === 'publish')).toHaveLength(1);
});
