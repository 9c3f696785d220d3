/** Messages of QoS 2 that wait for their PUBREL: STANDARDS 5.1 (limits), 6, groups 18 and 26. */
import { expect, test } from 'vitest';
import { startGuardedBroker } from '../helpers/guarded-broker.ts';
import { encoded, publishPacket } from '../helpers/mqtt-wire.ts';

const message = (messageId: number) => publishPacket('devices/t-42/x', 2, { messageId });
const pubrel = (messageId: number) => ({ cmd: 'pubrel', messageId }) as const;

test('I11: 1,000 messages of QoS 2 may wait for their PUBREL, one more closes the connection', async () => {
  const broker = await startGuardedBroker();
  const client = await broker.connect();
  for (let id = 1; id <= 1000; id += 1) client.send(message(id));
  for (let id = 1; id <= 1000; id += 1) await client.next('pubrec');
  client.send({ ...message(1000), dup: true } as never); // a copy is none more
  await client.next('pubrec');
  client.send(message(1001));
  await client.closed;
  expect(client.packets.filter(({ cmd }) => cmd === 'pubrec')).toHaveLength(1001);
});

test('I11: the bound holds for messages in one segment, and each PUBREL makes room', async () => {
  const broker = await startGuardedBroker();
  const client = await broker.connect();
  for (let id = 1; id <= 999; id += 1) client.send(message(id));
  for (let id = 1; id <= 999; id += 1) await client.next('pubrec');
  for (let round = 0; round < 3; round += 1) {
    client.send(message(2000 + round));
    await client.next('pubrec');
    client.send(pubrel(2000 + round));
    await client.next('pubcomp');
  }
  client.send(Buffer.concat([1, 2].map((n) => encoded(message(3000 + n)))));
  await client.closed;
});

test('the same PUBREL twice in one segment is answered twice, and ends no process', async () => {
  const broker = await startGuardedBroker();
  const client = await broker.connect();
  client.send(message(7));
  await client.next('pubrec');
  client.send(Buffer.concat([encoded(pubrel(7)), encoded(pubrel(7))]));
  await client.next('pubcomp');
  await client.next('pubcomp');
  client.send({ cmd: 'pingreq' });
  await client.next('pingresp');
});

test('a takeover leaves the messages of the newer clean session alone', async () => {
  const broker = await startGuardedBroker();
  const published: string[] = [];
  broker.aedes.on('publish', ({ topic }) => {
    if (!topic.startsWith('$')) published.push(topic);
  });
  const first = await broker.connect();
  const second = await broker.connect();
  second.send(message(7));
  await second.next('pubrec');
  await first.closed;
  second.send({ ...message(7), dup: true } as never);
  await second.next('pubrec');
  expect(published).toHaveLength(1);
});
