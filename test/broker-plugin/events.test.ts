/** What the plugin tells the program around it: DESIGN 6; I1, I2, I11. */
import type { LatchkeyEvents } from '@latchkey/broker-plugin';
import { expect, test } from 'vitest';
import { type GuardedBroker, startGuardedBroker } from '../helpers/guarded-broker.ts';
import { publishPacket, subscribePacket } from '../helpers/mqtt-wire.ts';

const NAMES = [
  'connect',
  'connect-refused',
  'publish-refused',
  'subscribe-refused',
  'renewed',
  'renew-refused',
  'expired',
] as const satisfies readonly (keyof LatchkeyEvents)[];

function record({ latchkey }: GuardedBroker): [string, object][] {
  const told: [string, object][] = [];
  for (const name of NAMES) latchkey.events.on(name, (notice: object) => told.push([name, notice]));
  return told;
}

/** One client through everything that can happen to it. */
async function everything(broker: GuardedBroker): Promise<string[]> {
  const { issuer, clock } = broker;
  const token = await issuer.token({ jti: 'first-token-0000', ttlSeconds: 60 });
  const next = await issuer.token({ jti: 'second-token-000', ttlSeconds: 60 });
  const client = await broker.connect(token);
  client.send(subscribePacket({ 'devices/t-43/#': 0 }));
  await client.next('suback');
  client.send(publishPacket('$latchkey/renew', 1, { payload: next }));
  await client.next('puback');
  await clock.advance(60_000);
  await client.closed;
  const foreign = await issuer.token({ clientId: 't-43' });
  const stranger = await broker.connect(foreign, { clientId: 't-42', username: 't-42' });
  await stranger.closed;
  const other = await broker.connect();
  other.send(publishPacket('devices/t-43/x', 1));
  await other.closed;
  const third = await broker.connect();
  third.send(publishPacket('$latchkey/renew', 1, { payload: foreign }));
  await third.closed;
  const noise = await broker.wire();
  noise.send(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
  await noise.closed;
  return [token, next, foreign];
}

test('every event is told once for each time, with what it is about', async () => {
  const broker = await startGuardedBroker();
  const told = record(broker);
  const expiresAt = broker.clock.now() + 60;
  await everything(broker);
  const clientId = 't-42';
  const address = '127.0.0.1';
  expect(told).toMatchObject([
    ['connect', { clientId, mqttClientId: clientId, jti: 'first-token-0000', expiresAt, address }],
    [
      'subscribe-refused',
      { clientId, topic: 'devices/t-43/#', reason: 'no-scope', nearest: 'sub:devices/t-42/#' },
    ],
    ['renewed', { clientId, jti: 'second-token-000', expiresAt }],
    ['expired', { clientId }],
    [
      'connect-refused',
      { mqttClientId: clientId, reason: 'insufficient_scope', returnCode: 5, address },
    ],
    ['connect', { clientId }],
    ['publish-refused', { clientId, topic: 'devices/t-43/x', reason: 'no-scope' }],
    ['connect', { clientId }],
    ['renew-refused', { clientId, reason: 'insufficient_scope' }],
    ['connect-refused', { mqttClientId: undefined, reason: 'not-connect', returnCode: undefined }],
  ]);
});

test('I1: no event and no metric holds a token', async () => {
  const broker = await startGuardedBroker();
  const told = record(broker);
  const tokens = await everything(broker);
  const token = await broker.issuer.token();
  const client = await broker.wire();
  client.send(publishPacket(`devices/${token}`, 0));
  await client.closed;
  const liar = await broker.connect(token, { clientId: token, username: token });
  await liar.closed;
  const all = JSON.stringify(told) + broker.latchkey.metrics();
  for (const text of [...tokens, token]) {
    for (const part of text.split('.')) expect(all).not.toContain(part);
  }
});

test('I11: a thousand topics and client ids make no new line in the metrics', async () => {
  const broker = await startGuardedBroker();
  const lines = () => broker.latchkey.metrics().split('\n').length;
  const refuse = async (i: number) => {
    const client = await broker.connect();
    client.send(publishPacket(`foreign/${i}`, 0));
    await client.closed;
    const other = await broker.connect(`guess-${i}`, { clientId: `x-${i}` });
    await other.closed;
  };
  await refuse(0);
  const before = lines();
  for (let i = 1; i < 50; i += 1) await refuse(i);
  expect(lines()).toBe(before);
  expect(broker.latchkey.metrics()).toContain(
    '\nlatchkey_publications_refused_total{reason="no-scope"} 50\n',
  );
});

test.each([
  {
    name: 'throws',
    listener: () => {
      throw new Error('listener');
    },
  },
  { name: 'rejects', listener: (): unknown => Promise.reject(new Error('listener')) },
])('I2: a listener that $name changes no decision and ends nothing', async ({ listener }) => {
  const broker = await startGuardedBroker();
  for (const name of NAMES) broker.latchkey.events.on(name, listener);
  await everything(broker);
  expect(broker.log.all('publish.refused')).toHaveLength(1);
  expect(broker.log.all('session.renewed')).toHaveLength(1);
  expect(broker.log.all('listener.failed')).toHaveLength(10);
});

test('a broker is ready when it has keys of its issuer', async () => {
  const broker = await startGuardedBroker();
  await broker.log.event('keys.updated');
  expect(broker.latchkey.isReady()).toBe(true);
});
