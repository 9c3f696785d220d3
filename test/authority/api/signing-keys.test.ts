import { parseResourceId, parseRoleName } from '@latchkey/shared';
import { describe, expect, test } from 'vitest';
import { addDevice, openTestAuthority, type TestAuthority } from '../../helpers/test-authority.ts';

const READY_MS = 900_000;

interface Item {
  readonly kid: string;
  readonly status: string;
}
const itemsOf = ({ body }: { readonly body: unknown }) => (body as { items: Item[] }).items;
const statuses = (answer: { readonly body: unknown }) =>
  itemsOf(answer)
    .map(({ status }) => status)
    .sort();
const list = ({ api }: TestAuthority) => api('GET', '/signing-keys');

describe('GET /signing-keys', () => {
  test('shows public halves only', async () => {
    const authority = await openTestAuthority();
    const answer = await list(authority);
    const now = authority.clock.now();
    expect(answer).toMatchObject({ status: 200, body: { next: null } });
    expect(itemsOf(answer).find(({ status }) => status === 'active')).toEqual({
      kid: expect.stringMatching(/^[A-Za-z0-9_-]{43}$/),
      ...{ alg: 'EdDSA', status: 'active', is_published: true },
      ...{ created_at: now, activated_at: now, retired_at: null, published_until: null },
    });
    expect(statuses(answer)).toEqual(['active', 'next']);
  });
});

describe('POST /signing-keys/rotate', () => {
  const rotate = ({ api }: TestAuthority, body: object = {}) =>
    api('POST', '/signing-keys/rotate', body);

  test('rotates, and the token of the operator goes on', async () => {
    const authority = await openTestAuthority();
    await authority.clock.advance(READY_MS);
    const answer = await rotate(authority);
    expect(answer).toMatchObject({ status: 200, body: { rotated: ['EdDSA'], postponed: [] } });
    expect(statuses(answer)).toEqual(['active', 'next', 'retired']);
    expect(statuses(await list(authority))).toEqual(['active', 'next', 'retired']);
  });

  test('is refused while the next key is too new', async () => {
    const authority = await openTestAuthority();
    const before = await list(authority);
    expect(await rotate(authority, { now: false })).toMatchObject({
      status: 409,
      body: {
        errors: [
          { field: 'signing key', message: expect.stringContaining('cannot be rotated before') },
        ],
      },
    });
    expect(await list(authority)).toMatchObject({ body: before.body as object });
  });

  test('now: keys of before are gone from the JWKS', async () => {
    const authority = await openTestAuthority();
    const before = itemsOf(await list(authority)).map(({ kid }) => kid);
    const answer = await rotate(authority, { now: true });
    expect(statuses(answer)).toEqual(['active', 'next', 'retired', 'retired']);
    const { keys } = (await authority.authority.app.inject('/jwks')).json() as { keys: Item[] };
    expect(keys).toHaveLength(2);
    expect(keys.some(({ kid }) => before.includes(kid))).toBe(false);
  });

  test.each([{ now: 'true' }, { now: 1 }, { now: null }, { later: true }])(
    'is refused with the body %o',
    async (body) => {
      const authority = await openTestAuthority();
      expect((await rotate(authority, body)).status).toBe(400);
      expect(statuses(await list(authority))).toEqual(['active', 'next']);
    },
  );

  test('is one event of the audit log, and none when nothing happened', async () => {
    const authority = await openTestAuthority();
    await rotate(authority, { now: true });
    await rotate(authority);
    const { items } = await authority.registry.listEvents(
      { type: 'signing-key' },
      { limit: 10, after: undefined },
    );
    expect(items).toMatchObject([
      { actor: 'operator', action: 'rotate', target: '/signing-keys', outcome: 'ok' },
      { actor: 'operator', action: 'rotate', target: '/signing-keys', outcome: 'refused' },
    ]);
  });
});

test.each([
  { scope: 'signing-keys:read', get: 200, post: 403 },
  { scope: 'signing-keys:write', get: 200, post: 200 },
  { scope: 'clients:write', get: 403, post: 403 },
])(
  'with the scope $scope a client gets $get, and $post for a rotation',
  async ({ scope, get, post }) => {
    const authority = await openTestAuthority();
    const { registry, issuer } = authority;
    const api = `${issuer}/api`;
    if ((await registry.permission(scope as never)) === undefined) {
      await registry.createPermission({
        name: scope as never,
        resource: parseResourceId(api),
        scopes: [],
      });
    }
    await registry.createRole({ name: parseRoleName('r'), permissions: [scope as never] });
    const device = await addDevice(authority, 't-1', { roles: [] });
    await registry.patchClient(device.clientId, { roles: [parseRoleName('r')] });
    const { body } = await authority.token(await device.assertion(), { resource: api });
    const { access_token } = body as { access_token: string };
    const send = (method: 'GET' | 'POST', url: string) =>
      authority.authority.app.inject({
        ...{ method, url },
        headers: { authorization: `Bearer ${access_token}`, 'content-type': 'application/json' },
        ...(method === 'POST' && { payload: '{"now":true}' }),
      });
    expect((await send('GET', '/api/v1/signing-keys')).statusCode).toBe(get);
    expect((await send('POST', '/api/v1/signing-keys/rotate')).statusCode).toBe(post);
  },
);
