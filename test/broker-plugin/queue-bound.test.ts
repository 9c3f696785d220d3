/** How many messages wait for a client with a stored session. I11. */
import { expect, test } from 'vitest';
import { type GuardedBroker, startGuardedBroker } from '../helpers/guarded-broker.ts';
import { publishPacket, subscribePacket, type WireClient } from '../helpers/mqtt-wire.ts';

const LIMIT = 5;

async function setup() {
  const broker = await startGuardedBroker({ options: { limits: { queuedMessages: LIMIT } } });
  const publisher = await broker.connect({ clientId: 'publisher', scope: 'pub:#' });
  let messageId = 0;
  const publish = async (count: number) => {
    for (let i = 0; i < count; i += 1) {
      messageId += 1;
      publisher.send(publishPacket(`m/${messageId}`, 2, { messageId }));
      await publisher.next('pubrec');
      publisher.send({ cmd: 'pubrel', messageId });
      await publisher.next('pubcomp');
    }
  };
  const connect = async (id = 't-42') =>
    broker.connect({ clientId: id, scope: 'sub:m/#' }, { clean: false });
  const leaveStored = async (id: string) => {
    const client = await connect(id);
    client.send(subscribePacket({ 'm/#': 1 }));
    await client.next('suback');
    client.stream.destroy();
    await broker.log.event('session.closed', { clientId: id });
  };
  return { broker, publish, connect, leaveStored };
}

async function acknowledge(client: WireClient, count: number): Promise<readonly string[]> {
  const topics: string[] = [];
  for (let i = 0; i < count; i += 1) {
    const { topic, qos, messageId = 0 } = await client.next('publish');
    topics.push(topic);
    client.send({ cmd: qos === 2 ? 'pubrec' : 'puback', messageId });
    if (qos !== 2) continue;
    await client.next('pubrel');
    client.send({ cmd: 'pubcomp', messageId });
  }
  client.send({ cmd: 'pingreq' });
  await client.next('pingresp');
  return topics;
}

const dropped = ({ latchkey }: GuardedBroker) =>
  /latchkey_messages_dropped_total (\d+)/.exec(latchkey.metrics())?.[1];

test.each([
  { name: 'as many as may', sent: LIMIT, lost: 0 },
  { name: 'one more', sent: LIMIT + 1, lost: 1 },
  { name: 'many more', sent: LIMIT * 4, lost: LIMIT * 3 },
])(
  'I11: of messages for a client that is away, $name: the first ones wait',
  async ({ sent, lost }) => {
    const { broker, publish, connect, leaveStored } = await setup();
    await leaveStored('t-42');
    await publish(sent);
    expect(dropped(broker)).toBe(String(lost));
    expect(broker.log.all('queue.full')).toHaveLength(lost === 0 ? 0 : 1);
    const again = await connect();
    expect(await acknowledge(again, LIMIT)).toEqual(['m/1', 'm/2', 'm/3', 'm/4', 'm/5']);
    expect(again.packets.filter(({ cmd }) => cmd === 'publish')).toHaveLength(LIMIT);
  },
);

test('a queue that was emptied has room again, and a client that acknowledges has no bound', async () => {
  const { broker, publish, connect, leaveStored } = await setup();
  await leaveStored('t-42');
  await publish(LIMIT + 1);
  const again = await connect();
  await acknowledge(again, LIMIT);
  for (let round = 0; round < 4; round += 1) {
    await publish(LIMIT);
    await acknowledge(again, LIMIT);
  }
  expect(dropped(broker)).toBe('1');
});

test('the full queue of one client takes nothing from another', async () => {
  const { broker, publish, connect, leaveStored } = await setup();
  await leaveStored('full');
  await publish(LIMIT);
  await leaveStored('other');
  await publish(LIMIT);
  expect(dropped(broker)).toBe(String(LIMIT));
  const other = await connect('other');
  expect(await acknowledge(other, LIMIT)).toEqual(['m/6', 'm/7', 'm/8', 'm/9', 'm/10']);
});

test('a clean session empties the queue, and counts anew', async () => {
  const { broker, publish, connect, leaveStored } = await setup();
  await leaveStored('t-42');
  await publish(LIMIT + 1);
  const clean = await broker.connect({ scope: 'sub:m/#' }, { clean: true });
  clean.stream.destroy();
  await broker.log.event('session.closed', { clientId: 't-42' }, broker.log.lines.length);
  await leaveStored('t-42');
  await publish(LIMIT);
  expect(dropped(broker)).toBe('1');
  expect(await acknowledge(await connect(), LIMIT)).toEqual(['m/7', 'm/8', 'm/9', 'm/10', 'm/11']);
});
