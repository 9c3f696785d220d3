/** Rate limits of the endpoints: who is counted for what. */
import type { Limits } from '@latchkey/authority';
import { JWT_BEARER_GRANT } from '@latchkey/shared';
import { describe, expect, test } from 'vitest';
import {
  addDevice,
  addThermostatRole,
  openTestAuthority,
  type TestAuthority,
} from '../../helpers/test-authority.ts';

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
