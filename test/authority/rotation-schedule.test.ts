import type { SigningKeys } from '@latchkey/authority';
import { expect, test } from 'vitest';
import { runRotationSchedule } from '../../authority/src/signing/rotation-schedule.ts';
import { createCapturedLog } from '../helpers/captured-log.ts';
import { openTestAuthority } from '../helpers/test-authority.ts';

const DAY_MS = 86_400_000;

async function start(days: number, change: (keys: SigningKeys) => SigningKeys = (keys) => keys) {
  const authority = await openTestAuthority();
  const { registry, clock } = authority;
  const log = createCapturedLog();
  const controller = new AbortController();
  const signingKeys = change(authority.signingKeys);
  const ended = runRotationSchedule(
    { log: registry, signingKeys, days, clock, logger: log },
    controller.signal,
  );
  const active = async () => (await authority.signingKeys.signerFor('EdDSA')).publicKey.kid;
  const stop = async () => {
    controller.abort();
    await ended;
  };
  return { authority, log, active, stop, ended };
}

test('keys are rotated when they are old enough, and the audit log tells', async () => {
  const { authority, active, stop } = await start(7);
  const first = await active();
  await authority.clock.advance(7 * DAY_MS - 1000);
  expect(await active()).toBe(first);
  await authority.clock.advance(600_000);
  await stop();
  expect(await active()).not.toBe(first);
  const { items } = await authority.registry.listEvents(
    { type: 'signing-key' },
    { limit: 10, after: undefined },
  );
  expect(items).toMatchObject([{ actor: 'authority', action: 'rotate', outcome: 'ok' }]);
});

test('0 days switch it off', async () => {
  const { authority, active, ended } = await start(0);
  const first = await active();
  await ended;
  await authority.clock.advance(400 * DAY_MS);
  expect(await active()).toBe(first);
});

test('a rotation that fails is logged and tried again', async () => {
  let failures = 0;
  const { authority, log, active, stop } = await start(1, (keys) => ({
    ...keys,
    rotateOlderThan: (age) => {
      failures += 1;
      return failures <= 2 ? Promise.reject(new Error('no entropy')) : keys.rotateOlderThan(age);
    },
  }));
  const first = await active();
  await authority.clock.advance(DAY_MS + 600_000);
  await stop();
  expect(log.all('signing-key.not-rotated')).toHaveLength(2);
  expect(await active()).not.toBe(first);
});
