/** What the log says and never says: I1, I12, STANDARDS 6, group 32. */
import { Writable } from 'node:stream';
import { generateKey, strikeOut } from '@latchkey/shared';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { createDecisionLog } from '../../broker-plugin/src/decision-log.ts';
import { startGuardedBroker } from '../helpers/guarded-broker.ts';
import { connectPacket, publishPacket, subscribePacket } from '../helpers/mqtt-wire.ts';

test('I1: no failure writes a token, or a part of one, to the log or to the client', async () => {
  const broker = await startGuardedBroker();
  const { issuer } = broker;
  const good = await issuer.token();
  const tokens = [
    good,
    await issuer.token({ key: generateKey() }),
    await issuer.token({ audience: 'mqtts://other.example' as never }),
    await issuer.token({ clientId: 't-43' }),
    await issuer.token({ scope: 'pub;qos=9:a' }),
    `${good}x`,
    'eyJhbGciOiJub25lIn0.eyJzdWIiOiJ0LTQyIn0.c2VjcmV0LXNpZ25hdHVyZQ',
  ];
  const sent: Buffer[] = [];
  const connect = async (token: string, changes = {}) => {
    const client = await broker.wire();
    client.stream.on('data', (chunk: Buffer) => sent.push(chunk));
    client.send(connectPacket(token, changes));
    return client;
  };
  for (const token of tokens.slice(1)) await (await connect(token)).closed;
  const mqtt5 = { protocolVersion: 5, clientId: good } as const;
  for (const changes of [{ username: good }, { clientId: good }, mqtt5]) {
    await (await connect(good, changes)).closed;
  }
  const client = await connect(good);
  client.send(
    subscribePacket({ [`x/${good}`]: 0 }),
    publishPacket('devices/t-43/x', 1, { payload: good }),
  );
  await client.closed;
  const second = await connect(good);
  await second.next('connack');
  second.send(connectPacket(good));
  await second.closed;

  const text = broker.log.text();
  const bytes = Buffer.concat(sent).toString('latin1');
  for (const token of tokens) {
    const signature = token.split('.')[2] as string;
    expect(bytes).not.toContain(signature);
    if (token !== good) expect(text).not.toContain(signature);
  }
  // As client id, user name or topic it is a name from the wire, and still not shown.
  for (const part of good.split('.')) expect(text).not.toContain(part);
  expect(broker.log.all('connect.refused').length).toBeGreaterThan(6);
});

const context = { clientId: 't-42' } as never;
const request = { action: 'publish', topic: 'a', qos: 0, retain: false } as const;

test('an allowed decision costs nothing when debug is off', () => {
  const lines: string[] = [];
  const out = new Writable({
    write: (chunk, _encoding, done) => {
      lines.push(String(chunk));
      done();
    },
  });
  const logger = pino({ level: 'info', formatters: { log: strikeOut } }, out);
  const scope = Object.defineProperty({}, 'action', {
    get: () => {
      throw new Error('formatted for nothing');
    },
  });
  createDecisionLog({ logger, notify: () => undefined }).write(context, request, {
    allowed: true,
    scope: scope as never,
  });
  expect(lines).toEqual([]);
  createDecisionLog({ logger, notify: () => undefined }).write(context, request, {
    allowed: false,
    reason: 'no-scope',
    detail: 'no scope for publishing',
    nearest: undefined,
  });
  expect(lines.map((line) => JSON.parse(line))).toMatchObject([
    { level: 40, event: 'publish.refused', clientId: 't-42', topic: 'a', reason: 'no-scope' },
  ]);
});

test('I12: refusals name the nearest scope', async () => {
  const broker = await startGuardedBroker();
  const client = await broker.connect({ scope: 'pub:devices/t-42/# pub:other' });
  client.send(publishPacket('devices/t-43/x'));
  await client.closed;
  expect(await broker.log.event('publish.refused')).toEqual({
    event: 'publish.refused',
    clientId: 't-42',
    topic: 'devices/t-43/x',
    qos: 0,
    retain: false,
    reason: 'no-scope',
    detail: 'no scope covers the topic; the nearest is pub:devices/t-42/#',
    nearest: 'pub:devices/t-42/#',
  });
});
