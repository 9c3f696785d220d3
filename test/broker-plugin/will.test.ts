/** Wills: STANDARDS 1.6, 5.3 (4, 5) and 6, group 20. What is refused at CONNECT is in connect.test.ts. */
import type { Client, PublishPacket } from 'aedes';
import type { IConnectPacket } from 'mqtt-packet';
import { expect, test } from 'vitest';
import { type GuardedBroker, startGuardedBroker } from '../helpers/guarded-broker.ts';
import { publishPacket } from '../helpers/mqtt-wire.ts';

const ours = (topics: readonly string[]) => topics.filter((topic) => !topic.startsWith('$'));
const WILL: Partial<IConnectPacket> = {
  will: { topic: 'devices/t-42/gone', payload: Buffer.from('x'), qos: 1, retain: false },
};

async function afterWill(broker: GuardedBroker): Promise<void> {
  await broker.log.event('publish.allowed', { topic: 'devices/t-42/gone' });
  const marker = await broker.connect({ clientId: 'm', scope: 'pub:marker' });
  marker.send(publishPacket('marker', 2));
  await marker.next('pubrec');
}

test('an approved will is published when the connection breaks, and the log names its scope', async () => {
  const broker = await startGuardedBroker();
  const heard = await broker.heard();
  const client = await broker.connect({}, WILL);
  client.stream.destroy();
  await afterWill(broker);
  expect(ours(heard)).toEqual(['devices/t-42/gone', 'marker']);
  expect(await broker.log.event('publish.allowed')).toMatchObject({ scope: 'pub:devices/t-42/#' });
});

test('a clean DISCONNECT keeps the will in', async () => {
  const broker = await startGuardedBroker();
  const heard = await broker.heard();
  const client = await broker.connect({}, WILL);
  client.send({ cmd: 'disconnect' });
  await broker.log.event('session.closed');
  const marker = await broker.connect({ clientId: 'm', scope: 'pub:marker' });
  marker.send(publishPacket('marker', 2));
  await marker.next('pubrec');
  expect(ours(heard)).toEqual(['marker']);
});

test('a will is published even though the token has expired meanwhile (RFC 9431 5)', async () => {
  const broker = await startGuardedBroker();
  const heard = await broker.heard();
  const client = await broker.connect({}, WILL);
  await broker.clock.advance(900_000);
  await client.closed;
  await afterWill(broker);
  expect(ours(heard)).toEqual(['devices/t-42/gone', 'marker']);
});

test('a takeover lets the will of the first connection out', async () => {
  const broker = await startGuardedBroker();
  const heard = await broker.heard();
  await broker.connect({}, WILL);
  await broker.connect();
  await afterWill(broker);
  expect(ours(heard)).toEqual(['devices/t-42/gone', 'marker']);
});

const ask =
  ({ aedes }: GuardedBroker) =>
  (client: unknown, packet: unknown): Promise<void> =>
    new Promise((resolve, reject) => {
      aedes.authorizePublish(client as Client, packet as PublishPacket, (error) =>
        error ? reject(error) : resolve(),
      );
    });

test.each([
  { name: 'no client', clientOf: () => null },
  {
    name: 'a client that reconnected under the same id',
    clientOf: (id: string, broker: GuardedBroker) =>
      (broker.aedes as unknown as { clients: Record<string, unknown> }).clients[id],
  },
])(
  'I2: a stale will of another broker is refused with $name, without ending the process',
  async ({ clientOf }) => {
    const broker = await startGuardedBroker();
    const client = await broker.connect({}, WILL);
    const stale = {
      topic: 'devices/t-42/gone',
      payload: Buffer.from('x'),
      qos: 0,
      retain: false,
      clientId: 't-42',
      brokerId: 'dead',
    };
    await expect(ask(broker)(clientOf('t-42', broker), stale)).rejects.toThrow('not authorized');
    client.send({ cmd: 'pingreq' });
    await client.next('pingresp');
  },
);

test('the will of a client that is still connected cannot be published for it', async () => {
  const broker = await startGuardedBroker();
  await broker.connect({}, WILL);
  const [client] = Object.values(
    (broker.aedes as unknown as { clients: Record<string, { will: unknown }> }).clients,
  );
  await expect(ask(broker)(client, client?.will)).rejects.toThrow('not authorized');
});

test('trap: a stale will that nobody answers for reaches the log and leaves the store', async () => {
  const broker = await startGuardedBroker({ aedes: { heartbeatInterval: 20 } });
  const { persistence } = broker.aedes as unknown as {
    persistence: {
      putWill(client: object, packet: object): Promise<void>;
      getWill(client: object): Promise<{ brokerId: string } | undefined>;
    };
  };
  const heard = await broker.heard();
  const will = { topic: 'devices/t-99/gone', payload: Buffer.from('x'), qos: 0, retain: false };
  await persistence.putWill({ id: 't-99' }, will);
  (will as unknown as { brokerId: string }).brokerId = 'dead';
  await broker.log.event('publish.refused', { reason: 'stale-will' });
  await broker.log.event('broker.error');
  expect(await persistence.getWill({ id: 't-99' })).toBeUndefined();
  expect(ours(heard)).toEqual([]);
});
