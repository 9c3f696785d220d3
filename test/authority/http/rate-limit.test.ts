/** Rate limits: the bucket on both sides of its boundary, and who is counted for what. */
import { addressKey, createRateLimiter, type Limits, RateLimitedError } from '@latchkey/authority';
import { JWT_BEARER_GRANT } from '@latchkey/shared';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createDrivenClock } from '../../helpers/driven-clock.ts';
import {
  addDevice,
  addThermostatRole,
  openTestAuthority,
  type TestAuthority,
} from '../../helpers/test-authority.ts';

describe('a bucket', () => {
  const setup = (perSecond: number, burst: number, maxBuckets?: number) => {
    const clock = createDrivenClock();
    const more = maxBuckets === undefined ? {} : { maxBuckets };
    const limiter = createRateLimiter({ perSecond, burst }, { clock, ...more });
    const isTaken = (key = 'a') => {
      try {
        limiter.take(key);
        return true;
      } catch (error) {
        expect(error).toBeInstanceOf(RateLimitedError);
        return false;
      }
    };
    const retryAfter = (key = 'a') => {
      try {
        limiter.take(key);
        return undefined;
      } catch (error) {
        return (error as RateLimitedError).retryAfterSeconds;
      }
    };
    return { clock, limiter, isTaken, retryAfter };
  };

  test('gives its burst, then nothing, then one as soon as one is back and not before', async () => {
    const { clock, isTaken } = setup(2, 3);
    expect([isTaken(), isTaken(), isTaken(), isTaken()]).toEqual([true, true, true, false]);
    await clock.advance(499);
    expect(isTaken()).toBe(false);
    await clock.advance(1);
    expect(isTaken()).toBe(true);
    expect(isTaken()).toBe(false);
  });

  test('says after how many seconds one is back', async () => {
    const { clock, isTaken, retryAfter } = setup(1, 1);
    expect(isTaken()).toBe(true);
    expect(retryAfter()).toBe(1);
    await clock.advance(999);
    expect(retryAfter()).toBe(1);
    await clock.advance(1);
    expect(retryAfter()).toBeUndefined();
  });

  test('is never fuller than its burst, however long nobody came', async () => {
    const { clock, isTaken } = setup(100, 2);
    await clock.advance(3_600_000);
    expect([isTaken(), isTaken(), isTaken()]).toEqual([true, true, false]);
  });

  test('is looked into without taking, and counted down no further than to nothing', async () => {
    const { clock, limiter, isTaken } = setup(1, 1);
    limiter.check('a');
    limiter.check('a');
    limiter.count('a');
    limiter.count('a'); // a second one that was let in while the first was at work
    expect(() => limiter.check('a')).toThrow(RateLimitedError);
    await clock.advance(999);
    expect(() => limiter.check('a')).toThrow(RateLimitedError);
    await clock.advance(1);
    expect([isTaken(), isTaken()]).toEqual([true, false]);
  });

  test('is one for each key', () => {
    const { isTaken } = setup(1, 1);
    expect([isTaken('a'), isTaken('a'), isTaken('b')]).toEqual([true, false, true]);
  });

  test('gives and takes nothing when the clock is set back', () => {
    const { clock, isTaken } = setup(1, 1);
    expect(isTaken()).toBe(true);
    clock.set(clock.now() - 1000);
    expect(isTaken()).toBe(false);
  });

  test('goes when there are too many, the one used least recently first', () => {
    const { limiter, isTaken } = setup(1, 1, 2);
    expect([isTaken('a'), isTaken('b'), isTaken('a')]).toEqual([true, true, false]);
    expect(isTaken('c')).toBe(true);
    expect(limiter.size()).toBe(2);
    expect(isTaken('a')).toBe(false);
    expect(isTaken('b')).toBe(true);
  });

  test('never gives more in any time than its burst and what came back', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 20 }),
        fc.array(fc.integer({ min: 0, max: 700 }), { maxLength: 80 }),
        async (perSecond, burst, waits) => {
          const { clock, isTaken } = setup(perSecond, burst);
          const taken: number[] = [];
          for (const wait of waits) {
            await clock.advance(wait);
            if (isTaken()) taken.push(clock.nowMs());
          }
          taken.forEach((from, i) => {
            taken.slice(i).forEach((to, count) => {
              expect(count + 1).toBeLessThanOrEqual(
                burst + ((to - from) / 1000) * perSecond + 1e-6,
              );
            });
          });
        },
      ),
      { numRuns: 30 },
    );
  });
});

test.each([
  { address: '192.0.2.7', key: '192.0.2.7' },
  { address: '2001:db8:1:2:3:4:5:6', key: '2001:db8:1:2::/64' },
  { address: '2001:db8:1:2::9', key: '2001:db8:1:2::/64' },
  { address: '2001:db8::1', key: '2001:db8:0:0::/64' },
  { address: '::1', key: '0:0:0:0::/64' },
  { address: 'fe80::1%eth0', key: 'fe80:0:0:0::/64' },
])('an address $address is counted as $key', ({ address, key }) => {
  expect(addressKey(address)).toBe(key);
});

describe('the endpoints', () => {
  const generous = { perSecond: 1000, burst: 1000 };
  const open = async (limits: Partial<Limits>, trustedProxies?: readonly string[]) => {
    const authority = await openTestAuthority({
      limits: { address: generous, client: generous, ...limits },
      ...(trustedProxies && { trustedProxies }),
    });
    return authority;
  };
  const send = async (
    { authority }: TestAuthority,
    url: string,
    { address = '192.0.2.1', headers = {} }: { address?: string; headers?: object } = {},
  ) => {
    const response = await authority.app.inject({
      method: 'POST',
      url,
      remoteAddress: address,
      headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
      payload: 'grant_type=client_credentials',
    });
    return response;
  };

  test.each([
    { url: '/token' },
    { url: '/introspect' },
    { url: '/revoke' },
    { url: '/enroll' },
    { url: '/api/v1/roles' },
  ])('$url holds back an address, before it authenticates, and no other', async ({ url }) => {
    const authority = await open({ address: { perSecond: 1, burst: 3 } });
    const statuses = [];
    for (let i = 0; i < 4; i += 1) statuses.push((await send(authority, url)).statusCode);
    expect(statuses.slice(0, 3)).not.toContain(429);
    expect(statuses[3]).toBe(429);
    const held = await send(authority, url);
    expect(held.headers['retry-after']).toBe('1');
    const body = held.json();
    if (url.startsWith('/api')) expect(body).toMatchObject({ status: 429 });
    else expect(body).toMatchObject({ error: 'temporarily_unavailable' });
    expect((await send(authority, url, { address: '192.0.2.2' })).statusCode).not.toBe(429);
    await authority.clock.advance(1000);
    expect((await send(authority, url)).statusCode).not.toBe(429);
    expect((await send(authority, url)).statusCode).toBe(429);
  });

  test('share the buckets of addresses', async () => {
    const authority = await open({ address: { perSecond: 1, burst: 1 } });
    expect((await send(authority, '/token')).statusCode).toBe(401);
    expect((await send(authority, '/enroll')).statusCode).toBe(429);
  });

  test('count what a trusted proxy says, and of nobody else', async () => {
    const authority = await open({ address: { perSecond: 1, burst: 1 } }, ['10.0.0.0/8']);
    const from = (client: string, address: string) =>
      send(authority, '/token', { address, headers: { 'x-forwarded-for': client } });
    expect((await from('192.0.2.1', '10.1.1.1')).statusCode).toBe(401);
    expect((await from('192.0.2.2', '10.1.1.1')).statusCode).toBe(401);
    expect((await from('192.0.2.2', '10.1.1.2')).statusCode).toBe(429);
    expect((await from('192.0.2.3', '198.51.100.1')).statusCode).toBe(401);
    expect((await from('192.0.2.4', '198.51.100.1')).statusCode).toBe(429);
  });

  test('hold back a client that asks for too many tokens, and no other', async () => {
    const authority = await open({ client: { perSecond: 1, burst: 20 } });
    await addThermostatRole(authority);
    const [one, other] = [await addDevice(authority, 't-1'), await addDevice(authority, 't-2')];
    const statuses = [];
    for (let i = 0; i < 21; i += 1) {
      statuses.push((await authority.token(await one.assertion())).status);
    }
    expect(statuses.slice(0, 20).every((status) => status === 200)).toBe(true);
    const { status, headers, body } = await authority.token(await one.assertion());
    expect([statuses[20], status]).toEqual([429, 429]);
    expect(headers['retry-after']).toBe('1');
    expect(body).toMatchObject({ error: 'temporarily_unavailable' });
    expect((await authority.token(await other.assertion())).status).toBe(200);
    await authority.clock.advance(1000);
    expect((await authority.token(await one.assertion())).status).toBe(200);
  });

  test('do not count against a client what others send in its name, or again', async () => {
    const authority = await open({ client: { perSecond: 1, burst: 20 } });
    await addThermostatRole(authority);
    const device = await addDevice(authority, 't-1');
    const forged = `${(await device.assertion()).slice(0, -8)}AAAAAAAA`;
    const spent = await device.assertion();
    expect((await authority.token(spent)).status).toBe(200);
    for (let i = 0; i < 30; i += 1) {
      expect((await authority.token(forged)).status).toBe(400);
      expect((await authority.token(spent)).status).toBe(400);
      await authority.form([
        ['grant_type', JWT_BEARER_GRANT],
        ['client_id', 't-1'],
        ['client_secret', 'x'],
      ]);
    }
    expect((await authority.token(await device.assertion())).status).toBe(200);
  });
});
