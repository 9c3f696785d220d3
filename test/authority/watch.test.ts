/** `/healthz`, `/readyz` and `/metrics`: what they say, and to whom. */

import { describe, expect, test } from 'vitest';
import { addService, basic, newSecret, post } from '../helpers/oauth-requests.ts';
import { openTestAuthority } from '../helpers/test-authority.ts';

type Headers = Readonly<Record<string, string>>;

async function get(
  { authority }: Awaited<ReturnType<typeof openTestAuthority>>,
  url: string,
  { headers = {}, remoteAddress = '127.0.0.1' }: { headers?: Headers; remoteAddress?: string } = {},
) {
  const {
    statusCode,
    headers: answered,
    body,
  } = await authority.app.inject({
    url,
    headers,
    remoteAddress,
  });
  return { status: statusCode, headers: answered, body };
}

describe('metrics', () => {
  test('count tokens, refusals and requests, and measure the time that a token takes', async () => {
    const authority = await openTestAuthority();
    const service = await addService(authority, 'shop', { roles: ['operator'] });
    const grant = { grant_type: 'client_credentials' };
    await post(authority, '/token', grant, service.basic);
    await post(authority, '/token', grant, basic('shop', newSecret()));
    await post(authority, '/token', { grant_type: 'x' });
    await authority.operatorToken();
    await authority.authority.app.inject('/nowhere/1');
    await authority.authority.app.inject('/nowhere/2');
    const { status, headers, body } = await get(authority, '/metrics');
    expect(status).toBe(200);
    expect(headers).toMatchObject({
      'content-type': 'text/plain; version=0.0.4; charset=utf-8',
      'cache-control': 'no-store',
    });
    const lines = body.split('\n');
    expect(lines).toEqual(
      expect.arrayContaining([
        '# TYPE latchkey_tokens_issued_total counter',
        'latchkey_tokens_issued_total{grant="client_credentials"} 1',
        'latchkey_tokens_issued_total{grant="jwt-bearer"} 1',
        'latchkey_tokens_refused_total{error="invalid_client"} 1',
        'latchkey_tokens_refused_total{error="unsupported_grant_type"} 1',
        'latchkey_http_requests_total{method="POST",route="/token",status="200"} 2',
        'latchkey_http_requests_total{method="POST",route="/token",status="401"} 1',
        'latchkey_http_requests_total{method="GET",route="none",status="404"} 2',
        '# TYPE latchkey_token_duration_seconds histogram',
        'latchkey_token_duration_seconds_bucket{le="+Inf"} 2',
        'latchkey_token_duration_seconds_count 2',
      ]),
    );
    expect(body).toMatch(/\nprocess_resident_memory_bytes [1-9][0-9]+\n/);
    expect(body.endsWith('\n')).toBe(true);
  });

  test('have no label that a stranger chooses', async () => {
    const authority = await openTestAuthority();
    const before = (await get(authority, '/metrics')).body.split('\n').length;
    for (let i = 0; i < 50; i += 1) {
      await authority.authority.app.inject(`/path-${i}`);
      await authority.authority.app.inject(`/clients/c-${i}/jwks`);
      await post(authority, '/token', { grant_type: `x-${i}`, [`y-${i}`]: 'z' });
    }
    const { body } = await get(authority, '/metrics');
    expect(body.split('\n').length - before).toBeLessThan(8);
  });
});

describe.each(['/readyz', '/metrics'])('%s', (url) => {
  test.each([
    { name: 'a program on this machine', remoteAddress: '127.0.0.1', headers: {}, status: 200 },
    { name: 'over IPv6', remoteAddress: '::1', headers: {}, status: 200 },
    { name: 'over mapped IPv4', remoteAddress: '::ffff:127.0.0.1', headers: {}, status: 200 },
    { name: 'another machine', remoteAddress: '192.0.2.1', headers: {}, status: 401 },
    {
      name: 'a bad token',
      remoteAddress: '127.0.0.1',
      headers: { authorization: 'Bearer x' },
      status: 401,
    },
    ...['forwarded', 'via', 'x-forwarded-for', 'x-forwarded-host', 'x-real-ip'].map((name) => ({
      name: `somebody behind a proxy (${name})`,
      remoteAddress: '127.0.0.1',
      headers: { [name]: 'x' },
      status: 401,
    })),
  ])('$name: $status', async ({ remoteAddress, headers, status }) => {
    const authority = await openTestAuthority();
    const answer = await get(authority, url, { remoteAddress, headers: headers as Headers });
    expect(answer.status).toBe(status);
    if (status === 401) expect(answer.headers['www-authenticate']).toMatch(/^Bearer/);
  });

  test.each([
    { role: 'operator', status: 200 },
    { role: 'metrics:read', status: 200 },
    { role: 'clients:read', status: 403 },
  ])('an operator elsewhere with the role $role: $status', async ({ role, status }) => {
    const authority = await openTestAuthority();
    await authority.api('POST', '/roles', { name: role, permissions: [role] });
    const watcher = await addService(authority, 'watcher', { roles: [role] });
    const grant = { grant_type: 'client_credentials' };
    const { body } = await post(authority, '/token', grant, watcher.basic);
    const headers = { authorization: `Bearer ${body.access_token}` };
    expect((await get(authority, url, { remoteAddress: '192.0.2.1', headers })).status).toBe(
      status,
    );
  });
});

describe('readyz', () => {
  test('is ready when the registry can be read and the signing key is loaded', async () => {
    const { status, body } = await get(await openTestAuthority(), '/readyz');
    expect({ status, body }).toEqual({ status: 200, body: '{"status":"ready"}' });
  });

  test('is unavailable when the registry cannot be read, and only the log says why', async () => {
    const authority = await openTestAuthority();
    await authority.registry.close();
    const { status, body } = await get(authority, '/readyz');
    expect({ status, body }).toEqual({ status: 503, body: '{"status":"unavailable"}' });
    expect(authority.log.all('ready.failed')).toHaveLength(1);
  });
});

test('healthz answers everybody', async () => {
  const authority = await openTestAuthority();
  const { status, body } = await get(authority, '/healthz', { remoteAddress: '192.0.2.1' });
  expect({ status, body }).toEqual({ status: 200, body: '{"status":"ok"}' });
});
