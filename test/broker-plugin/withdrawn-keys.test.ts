/** A key that the issuer took back ends the sessions it vouched for: DESIGN 8 (signing key stolen). */
import { DEFAULT_LIMITS } from '@latchkey/broker-plugin';
import { generateKey, type PrivateKey } from '@latchkey/shared';
import { expect, test } from 'vitest';
import { startGuardedBroker } from '../helpers/guarded-broker.ts';
import { connectPacket } from '../helpers/mqtt-wire.ts';

const REFRESH_MS = 600_000;
const jwkOf = (key: PrivateKey) => ({ ...key.publicKey.jwk });
const ttlSeconds = 7200;

test('sessions of its tokens end without their will, those of other keys go on', async () => {
  const next = generateKey();
  const { issuer, clock, connect, log, latchkey, heard } = await startGuardedBroker();
  issuer.keys.push(jwkOf(next));
  const topics = await heard();
  const will = { topic: 'devices/t-42/gone', payload: Buffer.from('x'), qos: 0, retain: false };
  const old = await connect({ ttlSeconds }, { will: { ...will, qos: 0 } });
  const token = { clientId: 't-43', key: next, ttlSeconds };
  const other = await connect({ ...token, scope: 'pub:devices/t-43/#' }, { clientId: 't-43' });
  expect([old, other].map(({ connack }) => connack.returnCode)).toEqual([0, 0]);
  issuer.keys = [jwkOf(next)];
  await clock.untilSleeping(REFRESH_MS);
  await clock.advance(REFRESH_MS);
  await old.closed;
  expect(await log.event('session.revoked')).toMatchObject({ clientId: 't-42', reason: 'revoked' });
  expect(latchkey.metrics()).toContain('latchkey_sessions 1');
  expect(other.stream.destroyed).toBe(false);
  expect(topics).not.toContain('devices/t-42/gone');
});

test('a session that was let in meanwhile ends too', async () => {
  const next = generateKey();
  const letIn: (() => void)[] = [];
  const { issuer, clock, wire, log } = await startGuardedBroker({
    before: (aedes) => {
      aedes.authenticate = (_client, _username, _password, done) => {
        letIn.push(() => done(null, true));
      };
    },
  });
  await log.event('keys.updated');
  await clock.advance(30_000); // an unknown key is looked for again
  const client = await wire();
  client.send(connectPacket(await issuer.token({ ttlSeconds })));
  await expect.poll(() => letIn.length).toBe(1);
  const updated = log.event('keys.updated', {}, log.lines.length);
  issuer.keys = [jwkOf(next)];
  const other = await wire();
  other.send(connectPacket(await issuer.token({ key: next, ttlSeconds })));
  await updated;
  letIn[0]?.();
  expect(await client.next('connack')).toMatchObject({ returnCode: 0 });
  await clock.advance(DEFAULT_LIMITS.authenticateTimeoutMs);
  await client.closed;
  expect(await log.event('session.revoked')).toMatchObject({ reason: 'revoked' });
});
