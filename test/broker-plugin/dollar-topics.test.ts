/** Topics that begin with `$`: STANDARDS 4.3, 5.3 (6), 6, groups 22, 24 and 30. */
import { FormatError } from '@latchkey/shared';
import { expect, test } from 'vitest';
import { isOpenDollarTopic, parseDollarTopics } from '../../broker-plugin/src/dollar-topics.ts';
import { type GuardedBroker, startGuardedBroker } from '../helpers/guarded-broker.ts';
import { publishPacket, subscribePacket, type WireClient } from '../helpers/mqtt-wire.ts';

test.each([
  '$SYS',
  '$sys',
  '$share',
  '$queue',
  '$exclusive',
  '$delayed',
  '$latchkey',
  '$Latchkey',
  'app',
  '$',
  '$app/x',
  '$app/#',
  '$+',
  '$a b',
  '$$app',
  '',
  `$${'a'.repeat(65)}`,
])('%j cannot be opened', (level) => {
  expect(() => parseDollarTopics([level])).toThrow(FormatError);
});

test('16 levels can be opened, and no more', () => {
  const levels = (count: number) => [...Array(count).keys()].map((i) => `$app${i}`);
  expect(parseDollarTopics(levels(16)).size).toBe(16);
  expect(() => parseDollarTopics(levels(17))).toThrow(FormatError);
});

test.each([
  { topic: '$app', isOpen: true },
  { topic: '$app/x', isOpen: true },
  { topic: '$app/', isOpen: true },
  { topic: '$app/#', isOpen: true },
  { topic: '$apps/x', isOpen: false },
  { topic: '$ap', isOpen: false },
  { topic: '$App/x', isOpen: false },
  { topic: '$SYS/x', isOpen: false },
  { topic: '$share/$app/x', isOpen: false },
  { topic: '$', isOpen: false },
])('$topic is open: $isOpen', ({ topic, isOpen }) => {
  expect(isOpenDollarTopic(parseDollarTopics(['$app']), topic)).toBe(isOpen);
});

const OPEN = { options: { dollarTopics: ['$app'] } };

async function settled(client: WireClient): Promise<readonly string[]> {
  client.send({ cmd: 'pingreq' });
  await client.next('pingresp');
  return client.packets.flatMap((packet) => (packet.cmd === 'publish' ? packet.topic : []));
}

async function grantedFor(broker: GuardedBroker, scope: string, ...filters: string[]) {
  const client = await broker.connect({ scope });
  client.send(subscribePacket(Object.fromEntries(filters.map((filter) => [filter, 1 as const]))));
  return (await client.next('suback')).granted;
}

test('an open level needs an entry that begins with it, and wildcards of others do not count', async () => {
  const broker = await startGuardedBroker(OPEN);
  const filters = ['$app/t-42/x', '$app/+/x', '$app/#', '$app', '#', '+/t-42/x'];
  const all = await grantedFor(broker, 'sub:# sub:+/t-42/x', ...filters);
  expect(all).toEqual([128, 128, 128, 128, 1, 1]);
  expect(await grantedFor(broker, 'sub:$app/t-42/#', ...filters)).toEqual([
    1, 128, 128, 128, 128, 128,
  ]);
  expect(await grantedFor(broker, 'sub:$app/#', ...filters)).toEqual([1, 1, 1, 1, 128, 128]);
});

test.each([
  { name: 'it is not open', setup: {}, scope: 'pub:$app/#' },
  { name: 'no entry begins with it', setup: OPEN, scope: 'pub:# pub:+/#' },
  { name: 'an entry begins with another', setup: OPEN, scope: 'pub:$apps/#' },
])('a publication to $ topics is refused when $name', async ({ setup, scope }) => {
  const broker = await startGuardedBroker(setup);
  const heard = await broker.heard();
  const client = await broker.connect({ scope });
  client.send(publishPacket('$app/x', 1));
  await client.closed;
  expect(heard.filter((topic) => topic.startsWith('$app'))).toEqual([]);
});

test.each(['$SYS/x/new/clients', '$share/g/x', '$queue/x'])(
  'group 30: %s is refused whatever is open and whatever an entry says',
  async (topic) => {
    const broker = await startGuardedBroker(OPEN);
    const client = await broker.connect({ scope: 'pub:$SYS/# pub:$share/# pub:$queue/#' });
    client.send(publishPacket(topic, 1));
    await client.closed;
    expect(await broker.log.event('publish.refused')).toMatchObject({ reason: 'reserved-topic' });
  },
);

test('I4: live and retained messages of an open level reach who has an entry for it, and nobody else', async () => {
  const broker = await startGuardedBroker(OPEN);
  const ear = await broker.connect({ clientId: 'ear', scope: 'sub:$app/#' });
  ear.send(subscribePacket({ '$app/#': 1 }));
  await ear.next('suback');
  const wide = await broker.connect({ clientId: 'wide', scope: 'sub:#' });
  wide.send(subscribePacket({ '#': 1, '+/x': 1 }));
  await wide.next('suback');
  const client = await broker.connect({ scope: 'pub:$app/# pub:plain' });
  client.send(
    publishPacket('$app/x', 1, { retain: true }),
    publishPacket('plain', 1, { messageId: 2 }),
  );
  await client.next('puback');
  expect(await ear.next('publish')).toMatchObject({ topic: '$app/x', retain: false });
  expect(await wide.next('publish')).toMatchObject({ topic: 'plain' });
  const late = await broker.connect({ clientId: 'late', scope: 'sub:#' });
  late.send(subscribePacket({ '#': 1, '+/x': 1 }));
  await late.next('suback');
  expect(await settled(late)).toEqual([]);
  expect(await settled(wide)).toEqual(['plain']);
  const reader = await broker.connect({ clientId: 'reader', scope: 'sub:$app/x' });
  reader.send(subscribePacket({ '$app/x': 1 }));
  expect(await reader.next('publish')).toMatchObject({ topic: '$app/x', retain: true });
});

test('a level that is not open is refused as ever, and explain says so', async () => {
  const broker = await startGuardedBroker(OPEN);
  const token = await broker.issuer.token({ scope: 'pub:$app/# pub:$other/#' });
  const ask = (topic: string) => broker.latchkey.explain({ token, action: 'publish', topic });
  expect(await ask('$app/x')).toMatchObject({ allowed: true, scope: 'pub:$app/#' });
  expect(await ask('$other/x')).toMatchObject({ allowed: false, reason: 'reserved-topic' });
});
