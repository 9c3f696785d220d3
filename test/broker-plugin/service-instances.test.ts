/** Several connections of one service, `client_id@instance`: DESIGN 4; STANDARDS 6, group 16. */
import type { ClientId } from '@latchkey/shared';
import { describe, expect, test } from 'vitest';
import { parseMqttClientId } from '../../broker-plugin/src/mqtt-client-id.ts';
import { createServiceInstances } from '../../broker-plugin/src/trust/service-instances.ts';
import { type GuardedBroker, startGuardedBroker } from '../helpers/guarded-broker.ts';
import { createMemoryClients, feedClient } from '../helpers/memory-clients.ts';
import { publishPacket, subscribePacket } from '../helpers/mqtt-wire.ts';

const INSTANCES = { options: { serviceInstances: 'any' } } as const;

async function open(broker: GuardedBroker, instance: string, clean = true) {
  const token = await broker.issuer.token({ clientId: 'collector', scope: 'pubsub:in/#' });
  const client = await broker.connect(token, {
    clientId: `collector@${instance}`,
    username: 'collector',
    clean,
  });
  return client;
}

test.each([
  { text: 'collector', clientId: 'collector', instance: undefined },
  { text: 'collector@1', clientId: 'collector', instance: '1' },
  { text: 'a@Z.z_9:-', clientId: 'a', instance: 'Z.z_9:-' },
  { text: `a@${'i'.repeat(32)}`, clientId: 'a', instance: 'i'.repeat(32) },
])('$text is instance $instance of $clientId', ({ text, ...id }) => {
  expect(parseMqttClientId(text)).toEqual(id);
});

describe('who may have instances', () => {
  const table = createMemoryClients(
    feedClient({ id: 'service', kind: 'service' }),
    feedClient({ id: 'device' }),
  );

  test.each([
    { allowed: 'feed', table, id: 'service', may: true },
    { allowed: 'feed', table, id: 'device', may: false },
    { allowed: 'feed', table, id: 'unknown', may: false },
    { allowed: 'feed', table: undefined, id: 'service', may: false },
    { allowed: 'never', table, id: 'service', may: false },
    { allowed: 'any', table, id: 'device', may: true },
    { allowed: 'any', table: undefined, id: 'unknown', may: true },
  ] as const)('$allowed: $id: $may', ({ allowed, table: known, id, may }) => {
    expect(createServiceInstances(allowed, known)(id as ClientId)).toBe(may);
  });
});

const COLLECTOR = feedClient({ id: 'collector', kind: 'service', scope: 'pubsub:in/#' });

test('with a feed a service may have instances, and a device may not', async () => {
  const clients = createMemoryClients(COLLECTOR, feedClient());
  const broker = await startGuardedBroker({ options: { clients } });
  expect((await open(broker, '1')).connack.returnCode).toBe(0);
  const device = await broker.connect(await broker.issuer.token(), { clientId: 't-42@1' });
  expect(device.connack.returnCode).toBe(5);
});

test('I5: a service that is revoked loses all its instances', async () => {
  const clients = createMemoryClients(COLLECTOR);
  const broker = await startGuardedBroker({ options: { clients } });
  const connections = [await open(broker, '1'), await open(broker, '2')];
  clients.put({ ...COLLECTOR, status: 'revoked' });
  await Promise.all(connections.map(({ closed }) => closed));
  expect((await open(broker, '3')).connack.returnCode).toBe(4);
});

test('instances are connections of one client, beside each other and beside the client itself', async () => {
  const broker = await startGuardedBroker(INSTANCES);
  const one = await open(broker, '1');
  const two = await open(broker, '2');
  const plain = await broker.connect({ clientId: 'collector', scope: 'pubsub:in/#' });
  for (const client of [one, two, plain]) {
    expect(client.connack.returnCode).toBe(0);
    client.send({ cmd: 'pingreq' });
    await client.next('pingresp');
  }
  expect(broker.log.all('connect.accepted')).toMatchObject([
    { clientId: 'collector', mqttClientId: 'collector@1' },
    { clientId: 'collector', mqttClientId: 'collector@2' },
    { clientId: 'collector', mqttClientId: 'collector' },
  ]);
});

test('a takeover is of the instance, and leaves the others alone', async () => {
  const broker = await startGuardedBroker(INSTANCES);
  const one = await open(broker, '1');
  const two = await open(broker, '2');
  const again = await open(broker, '1');
  await one.closed;
  for (const client of [two, again]) {
    client.send({ cmd: 'pingreq' });
    await client.next('pingresp');
  }
});

test('each instance has its own stored session', async () => {
  const broker = await startGuardedBroker(INSTANCES);
  const one = await open(broker, '1', false);
  one.send(subscribePacket({ 'in/x': 1 }));
  await one.next('suback');
  one.stream.destroy();
  await broker.log.event('session.closed');
  const two = await open(broker, '2', false);
  expect(two.connack).toMatchObject({ sessionPresent: false });
  two.send(publishPacket('in/x', 1));
  await two.next('puback');
  const again = await open(broker, '1', false);
  expect(again.connack).toMatchObject({ sessionPresent: true });
  expect(await again.next('publish')).toMatchObject({ topic: 'in/x' });
});

test('an instance renews and expires as its client does', async () => {
  const broker = await startGuardedBroker(INSTANCES);
  const client = await open(broker, '1');
  await broker.clock.advance(800_000);
  const next = await broker.issuer.token({ clientId: 'collector', scope: 'pubsub:in/#' });
  client.send(publishPacket('$latchkey/renew', 1, { payload: next }));
  await client.next('puback');
  await broker.clock.advance(899_000);
  client.send({ cmd: 'pingreq' });
  await client.next('pingresp');
  await broker.clock.advance(1_000);
  await client.closed;
});

test.each([
  { name: 'the instance as user name', id: 'collector@1', username: 'collector@1' },
  { name: 'an instance of another client', id: 'other@1', username: 'collector' },
])('I7: $name is refused', async ({ id, username }) => {
  const broker = await startGuardedBroker(INSTANCES);
  const token = await broker.issuer.token({ clientId: 'collector' });
  const { connack } = await broker.connect(token, { clientId: id, username });
  expect(connack.returnCode).toBe(5);
});

test('a ban is of all instances, so that nobody goes on as another', async () => {
  const broker = await startGuardedBroker({
    options: {
      ...INSTANCES.options,
      protection: { exemptAddresses: [], failuresPerClient: 3 },
    },
  });
  const codes: unknown[] = [];
  for (let i = 0; i < 4; i += 1) {
    const { connack } = await broker.connect('forged', {
      clientId: `collector@${i}`,
      username: 'collector',
    });
    codes.push(connack.returnCode);
  }
  expect(codes).toEqual([4, 4, 4, 3]);
});
