/** `explain`: DESIGN 6; I1, I12. */
import type { ExplainRequest } from '@latchkey/broker-plugin';
import { formatTopicScope, generateKey, parseTopicScope } from '@latchkey/shared';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { startGuardedBroker } from '../helpers/guarded-broker.ts';
import { publishPacket, subscribePacket } from '../helpers/mqtt-wire.ts';

const SCOPE = 'pub;qos=1;retain=0:devices/t-42/# sub:devices/t-42/commands/+';
type Question = Omit<ExplainRequest, 'token' | 'clientId'>;

const ROWS: readonly { name: string; question: Question; answer: object }[] = [
  {
    name: 'a publication that is allowed',
    question: { action: 'publish', topic: 'devices/t-42/x', qos: 1 },
    answer: { allowed: true, scope: 'pub;qos=1;retain=0:devices/t-42/#' },
  },
  {
    name: 'a QoS that is too high',
    question: { action: 'publish', topic: 'devices/t-42/x', qos: 2 },
    answer: { allowed: false, reason: 'qos-too-high' },
  },
  {
    name: 'a retained message',
    question: { action: 'publish', topic: 'devices/t-42/x', retain: true },
    answer: { allowed: false, reason: 'retain-not-allowed' },
  },
  {
    name: 'a foreign topic, with the nearest scope',
    question: { action: 'publish', topic: 'devices/t-43/x' },
    answer: {
      allowed: false,
      reason: 'no-scope',
      nearest: 'pub;qos=1;retain=0:devices/t-42/#',
    },
  },
  {
    name: 'a filter that is allowed',
    question: { action: 'subscribe', topic: 'devices/t-42/commands/+', qos: 2 },
    answer: { allowed: true, scope: 'sub:devices/t-42/commands/+' },
  },
  {
    name: 'a filter that is too wide',
    question: { action: 'subscribe', topic: 'devices/t-42/#' },
    answer: { allowed: false, reason: 'no-scope' },
  },
  {
    name: 'a delivery',
    question: { action: 'receive', topic: 'devices/t-42/commands/on' },
    answer: { allowed: true, scope: 'sub:devices/t-42/commands/+' },
  },
  {
    name: 'a reserved topic',
    question: { action: 'subscribe', topic: '$SYS/#' },
    answer: { allowed: false, reason: 'reserved-topic' },
  },
  {
    name: 'a topic that is none',
    question: { action: 'publish', topic: 'a/#' },
    answer: { allowed: false, reason: 'topic-invalid' },
  },
];

test.each(ROWS)('I12: $name is explained alike for a token and for its session', async (row) => {
  const broker = await startGuardedBroker();
  const { question, answer } = row;
  const token = await broker.issuer.token({ scope: SCOPE });
  await broker.connect(token);
  const who = { clientId: 't-42', expiresAt: broker.clock.now() + 900 };
  const byToken = await broker.latchkey.explain({ token, ...question });
  expect(byToken).toMatchObject({ ...who, ...answer });
  expect(await broker.latchkey.explain({ clientId: 't-42', ...question })).toEqual(byToken);
});

test.each([
  {
    name: 'of another issuer',
    token: { issuer: 'https://other.example' as never },
    reason: 'invalid_token',
    detail: /^issuer/,
  },
  {
    name: 'of a foreign key',
    token: { key: generateKey() },
    reason: 'invalid_token',
    detail: /^key/,
  },
  {
    name: 'for another resource',
    token: { audience: 'mqtts://other.example' as never },
    reason: 'insufficient_scope',
    detail: /^audience/,
  },
  {
    name: 'that is expired',
    token: { issuedAt: 1_759_999_000, expiresAt: 1_760_000_000 },
    reason: 'invalid_token',
    detail: /^expired/,
  },
])('I1, I12: a token $name is refused with the reason and without the token', async (row) => {
  const broker = await startGuardedBroker();
  const token = await broker.issuer.token(row.token);
  const answer = await broker.latchkey.explain({ token, action: 'publish', topic: 'a' });
  const { reason, detail } = row;
  expect(answer).toEqual({ allowed: false, reason, detail: expect.stringMatching(detail) });
  for (const part of token.split('.')) expect(JSON.stringify(answer)).not.toContain(part);
});

test('a client that is not connected has no rights here, nor one whose token is expired', async () => {
  const broker = await startGuardedBroker();
  const ask = () =>
    broker.latchkey.explain({ clientId: 't-42', action: 'publish', topic: 'devices/t-42/x' });
  expect(await ask()).toMatchObject({ allowed: false, reason: 'no-session' });
  const client = await broker.connect({ ttlSeconds: 60 });
  expect(await ask()).toMatchObject({ allowed: true });
  broker.clock.set(broker.clock.now() + 60); // before the sweep comes by
  expect(await ask()).toMatchObject({ allowed: false, reason: 'expired' });
  client.stream.destroy();
  await broker.log.event('session.closed');
  expect(await ask()).toMatchObject({ allowed: false, reason: 'no-session' });
});

test('a renewed session is explained by its present rights', async () => {
  const broker = await startGuardedBroker();
  const client = await broker.connect({ scope: 'pub:old' });
  const payload = await broker.issuer.token({ scope: 'pub:new' });
  client.send(publishPacket('$latchkey/renew', 1, { payload }));
  await client.next('puback');
  const ask = (topic: string) =>
    broker.latchkey.explain({ clientId: 't-42', action: 'publish', topic });
  expect(await ask('new')).toMatchObject({ allowed: true });
  expect(await ask('old')).toMatchObject({ allowed: false, nearest: 'pub:new' });
});

const LEVEL = fc.constantFrom('a', 'b', '+', '');
const FILTER = fc
  .tuple(fc.array(LEVEL, { minLength: 1, maxLength: 3 }), fc.boolean())
  .map(([levels, isDeep]) => [...levels, ...(isDeep ? ['#'] : [])].join('/'))
  .filter((filter) => filter !== '');

test('I12: whatever the broker answers to a SUBSCRIBE, explain answers the same', async () => {
  const broker = await startGuardedBroker();
  await fc.assert(
    fc.asyncProperty(FILTER, FILTER, async (granted, requested) => {
      const scope = formatTopicScope(parseTopicScope(`sub:${granted}`));
      const token = await broker.issuer.token({ scope });
      const client = await broker.connect(token);
      client.send(subscribePacket({ [requested]: 0 }));
      const { granted: codes } = await client.next('suback');
      const answer = await broker.latchkey.explain({
        token,
        action: 'subscribe',
        topic: requested,
      });
      expect(answer.allowed).toBe(codes[0] === 0);
      client.send({ cmd: 'disconnect' });
      await client.closed;
    }),
    { numRuns: 50 },
  );
});
