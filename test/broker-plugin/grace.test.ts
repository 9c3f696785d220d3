/** A session that lives on after its token, for devices that renew late: exactly the grace, I5. */
import { createLatchkey } from '@latchkey/broker-plugin';
import { describe, expect, test } from 'vitest';
import { createRenew } from '../../broker-plugin/src/renew.ts';
import { createSessionClock } from '../../broker-plugin/src/session-clock.ts';
import type { SessionContext } from '../../broker-plugin/src/verify-token.ts';
import { createDrivenClock } from '../helpers/driven-clock.ts';
import { type GuardedBroker, type Setup, startGuardedBroker } from '../helpers/guarded-broker.ts';
import { BROKER } from '../helpers/issuer-server.ts';
import { createMemoryClients, feedClient } from '../helpers/memory-clients.ts';
import { publishPacket, subscribePacket } from '../helpers/mqtt-wire.ts';

const LIFETIME = 60;
const GRACE = 30;
const ours = (topics: readonly string[]) => topics.filter((topic) => !topic.startsWith('$'));

const start = (options: Setup['options'] = {}) =>
  startGuardedBroker({ options: { graceSeconds: GRACE, ...options } });

/** Moves the clock without letting the sweep see it. */
const jump = ({ clock }: GuardedBroker, seconds: number) => clock.set(clock.now() + seconds);

test('an idle session lives until the last second of its grace, and is told as expired at its end', async () => {
  const broker = await start();
  const client = await broker.connect({ ttlSeconds: LIFETIME });
  await broker.clock.advance((LIFETIME + GRACE - 1) * 1000);
  client.send({ cmd: 'pingreq' });
  await client.next('pingresp');
  expect(broker.log.all('session.expired')).toEqual([]);
  await broker.clock.advance(1000);
  await client.closed;
  expect(broker.log.all('session.expired')).toMatchObject([{ clientId: 't-42' }]);
});

describe.each([
  { name: 'at exp', seconds: LIFETIME, isAllowed: true },
  { name: 'in the last second of the grace', seconds: LIFETIME + GRACE - 1, isAllowed: true },
  { name: 'at the end of the grace', seconds: LIFETIME + GRACE, isAllowed: false },
])('$name, before the sweep comes by,', ({ seconds, isAllowed }) => {
  test(`a publication is allowed: ${isAllowed}`, async () => {
    const broker = await start();
    const heard = await broker.heard();
    const client = await broker.connect({ ttlSeconds: LIFETIME });
    jump(broker, seconds);
    client.send(publishPacket('devices/t-42/x', 1));
    await (isAllowed ? client.next('puback') : client.closed);
    expect(ours(heard)).toHaveLength(isAllowed ? 1 : 0);
  });

  test(`a SUBSCRIBE is allowed: ${isAllowed}`, async () => {
    const broker = await start();
    const client = await broker.connect({ ttlSeconds: LIFETIME });
    jump(broker, seconds);
    client.send(subscribePacket({ 'devices/t-42/x': 0 }));
    expect(await client.next('suback')).toMatchObject({ granted: [isAllowed ? 0 : 128] });
  });

  test(`I4: a delivery is allowed: ${isAllowed}`, async () => {
    const broker = await start();
    const ear = await broker.connect({ ttlSeconds: LIFETIME });
    ear.send(subscribePacket({ 'devices/t-42/x': 1 }));
    await ear.next('suback');
    jump(broker, seconds);
    const other = await broker.connect({ clientId: 'pub', scope: 'pub:#' });
    other.send(publishPacket('devices/t-42/x', 1));
    await (isAllowed ? ear.next('publish') : ear.closed);
    expect(ear.packets.filter(({ cmd }) => cmd === 'publish')).toHaveLength(isAllowed ? 1 : 0);
  });

  test(`a PINGREQ is answered: ${isAllowed}`, async () => {
    const broker = await start();
    const client = await broker.connect({ ttlSeconds: LIFETIME });
    jump(broker, seconds);
    client.send({ cmd: 'pingreq' });
    await (isAllowed ? client.next('pingresp') : client.closed);
  });

  test(`a renewal is taken: ${isAllowed}`, async () => {
    const broker = await start();
    const client = await broker.connect({ ttlSeconds: LIFETIME });
    jump(broker, seconds);
    const next = await broker.issuer.token({ ttlSeconds: LIFETIME });
    client.send(publishPacket('$latchkey/renew', 1, { payload: next }));
    await (isAllowed ? client.next('puback') : client.closed);
    expect(broker.log.all('session.renewed')).toHaveLength(isAllowed ? 1 : 0);
  });

  test(`explain says of the client that it may: ${isAllowed}`, async () => {
    const broker = await start();
    await broker.connect({ ttlSeconds: LIFETIME });
    const expiresAt = broker.clock.now() + LIFETIME;
    jump(broker, seconds);
    const explanation = await broker.latchkey.explain({
      clientId: 't-42',
      action: 'publish',
      topic: 'devices/t-42/x',
    });
    expect(explanation).toMatchObject({
      allowed: isAllowed,
      expiresAt,
      ...(isAllowed ? {} : { reason: 'expired' }),
    });
  });
});

test.each([
  { name: 'in the last second of the token', seconds: LIFETIME - 1, returnCode: 0 },
  { name: 'at exp', seconds: LIFETIME, returnCode: 4 },
  { name: 'in the grace of a session that is there', seconds: LIFETIME + 1, returnCode: 4 },
])('nobody connects with an expired token: $name: $returnCode', async ({ seconds, returnCode }) => {
  const broker = await start();
  const token = await broker.issuer.token({ ttlSeconds: LIFETIME });
  const first = await broker.connect(token);
  jump(broker, seconds);
  expect((await broker.connect(token)).connack.returnCode).toBe(returnCode);
  if (returnCode === 0) return;
  first.send({ cmd: 'pingreq' });
  await first.next('pingresp');
  const explanation = await broker.latchkey.explain({ token, action: 'publish', topic: 'x' });
  expect(explanation).toMatchObject({ allowed: false, reason: 'invalid_token' });
});

test('nobody renews with an expired token, in the grace neither', async () => {
  const broker = await start();
  const token = await broker.issuer.token({ ttlSeconds: LIFETIME });
  const client = await broker.connect(token);
  jump(broker, LIFETIME);
  client.send(publishPacket('$latchkey/renew', 1, { payload: token }));
  await client.closed;
  expect(broker.log.all('renew.refused')).toMatchObject([{ reason: 'invalid_token' }]);
});

test('a token that expires while it is verified renews nothing, whatever the grace', async () => {
  const clock = createDrivenClock();
  const now = clock.now();
  const current = { clientId: 't-42', issuedAt: now, expiresAt: now } as SessionContext;
  const renew = createRenew({
    verifyToken: async () => {
      clock.set(now + 10);
      return { ...current, expiresAt: now + 10 };
    },
    clock,
    sessionClock: createSessionClock(clock, GRACE),
  });
  const request = { token: Buffer.from('x'), qos: 1, retain: false };
  await expect(renew(current, request)).rejects.toMatchObject({ error: 'invalid_token' });
});

test('a renewal in the grace lasts as long as the new token and its own grace', async () => {
  const broker = await start();
  const client = await broker.connect({ ttlSeconds: LIFETIME });
  await broker.clock.advance((LIFETIME + GRACE - 1) * 1000);
  const next = await broker.issuer.token({ ttlSeconds: LIFETIME });
  client.send(publishPacket('$latchkey/renew', 1, { payload: next }));
  await client.next('puback');
  await broker.clock.advance((LIFETIME + GRACE - 1) * 1000);
  client.send({ cmd: 'pingreq' });
  await client.next('pingresp');
  await broker.clock.advance(1000);
  await client.closed;
});

test('I5: a revocation does not wait for the grace', async () => {
  const clients = createMemoryClients(feedClient());
  const broker = await start({ clients });
  const client = await broker.connect({ ttlSeconds: LIFETIME });
  await broker.clock.advance((LIFETIME + 1) * 1000);
  clients.put(feedClient({ status: 'revoked' }));
  await client.closed;
  expect(broker.log.all('session.expired')).toEqual([]);
});

test('the will is published at the end of the grace', async () => {
  const broker = await start();
  const heard = await broker.heard();
  const client = await broker.connect(
    { ttlSeconds: LIFETIME },
    { will: { topic: 'devices/t-42/gone', payload: Buffer.from('x'), qos: 0, retain: false } },
  );
  await broker.clock.advance((LIFETIME + GRACE - 1) * 1000);
  expect(ours(heard)).toEqual([]);
  await broker.clock.advance(1000);
  await client.closed;
  while (ours(heard).length === 0) await new Promise((resolve) => setImmediate(resolve));
  expect(ours(heard)).toEqual(['devices/t-42/gone']);
});

test.each([0, 300])('a grace of %s s is within its bounds', async (graceSeconds) => {
  const latchkey = createLatchkey({ issuer: 'https://id.example', audience: BROKER, graceSeconds });
  await latchkey.close();
});
