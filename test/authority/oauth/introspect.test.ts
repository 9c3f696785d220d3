/** `POST /introspect`: who may ask about which token, and what they learn. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  addService,
  basic,
  newSecret,
  post,
  type TestService,
} from '../../helpers/oauth-requests.ts';
import {
  addDevice,
  addThermostatRole,
  BROKER,
  openTestAuthority,
  type TestAuthority,
} from '../../helpers/test-authority.ts';

const ORDERS = 'https://orders.example';
const INACTIVE = { active: false };

interface Setup {
  readonly authority: TestAuthority;
  /** Holder of a token for the orders. */
  readonly shop: TestService;
  /** The resource server of the orders. */
  readonly orders: TestService;
  /** Resource server of something else. */
  readonly stranger: TestService;
  readonly token: string;
}

async function setup(): Promise<Setup> {
  const authority = await openTestAuthority();
  const { api } = authority;
  await addThermostatRole(authority);
  const other = 'https://other.example';
  for (const identifier of [ORDERS, other]) {
    await api('POST', '/resources', { identifier, kind: 'http' });
  }
  const permissions = [
    { name: 'orders:read', resource: ORDERS },
    { name: 'orders:introspect', resource: ORDERS },
    { name: 'other:introspect', resource: other },
    { name: 'introspection', resource: ORDERS },
  ];
  for (const body of permissions) {
    await api('POST', '/permissions', body);
    await api('POST', '/roles', { name: body.name, permissions: [body.name] });
  }
  const shop = await addService(authority, 'shop', { roles: ['orders:read', 'introspection'] });
  const orders = await addService(authority, 'orders', { roles: ['orders:introspect'] });
  const stranger = await addService(authority, 'stranger', { roles: ['other:introspect'] });
  const grant = { grant_type: 'client_credentials', scope: 'orders:read' };
  const { body } = await post(authority, '/token', grant, shop.basic);
  return { authority, shop, orders, stranger, token: String(body.access_token) };
}

const ask = ({ authority }: Setup, token: string, headers: Readonly<Record<string, string>>) =>
  post(authority, '/introspect', { token }, headers);

describe('the resource server that the token is for', () => {
  test('learns what the token allows', async () => {
    const all = await setup();
    const answer = await ask(all, all.token, all.orders.basic);
    expect(answer.status).toBe(200);
    expect(answer.headers).toMatchObject({
      'cache-control': 'no-store',
      'content-type': 'application/json; charset=utf-8',
    });
    const now = all.authority.clock.now();
    expect(answer.body).toEqual({
      active: true,
      scope: 'orders:read',
      client_id: 'shop',
      token_type: 'Bearer',
      exp: now + 900,
      iat: now,
      sub: 'shop',
      aud: ORDERS,
      iss: all.authority.issuer,
      jti: all.authority.log.all('token.issued').at(-1)?.jti,
    });
  });

  test.each(['client_secret_post', 'private_key_jwt'])(
    'may authenticate with %s',
    async (method) => {
      const all = await setup();
      const { authority, orders, token } = all;
      const credentials =
        method === 'private_key_jwt'
          ? await orders.assertion()
          : { client_id: 'orders', client_secret: orders.secret };
      const parameters = { token, token_type_hint: 'access_token', ...credentials };
      expect((await post(authority, '/introspect', parameters)).body).toMatchObject({
        active: true,
      });
    },
  );

  test.each([
    { name: 'in its last second', after: 899, active: true },
    { name: 'at exp', after: 900, active: false },
  ])('$name: active $active', async ({ after, active }) => {
    const all = await setup();
    all.authority.clock.set(all.authority.clock.now() + after);
    expect((await ask(all, all.token, all.orders.basic)).body.active).toBe(active);
  });
});

describe('active:false alone is the answer', () => {
  test.each<{ name: string; change: (all: Setup) => Promise<unknown> }>([
    {
      name: 'after the token was revoked',
      change: ({ authority, shop, token }) => post(authority, '/revoke', { token }, shop.basic),
    },
    {
      name: 'after its client was revoked',
      change: ({ authority, shop }) => authority.registry.setClientStatus(shop.clientId, 'revoked'),
    },
    {
      name: 'while its client is suspended',
      change: ({ authority, shop }) =>
        authority.registry.setClientStatus(shop.clientId, 'suspended'),
    },
    {
      name: 'after its client was deleted',
      change: ({ authority, shop }) => authority.registry.deleteClient(shop.clientId),
    },
    {
      name: 'after everything of its time was voided',
      change: ({ authority, shop }) =>
        authority.registry.patchClient(shop.clientId, {
          tokensNotBefore: authority.clock.now() + 1,
        }),
    },
  ])('$name', async ({ change }) => {
    const all = await setup();
    await change(all);
    const answer = await ask(all, all.token, all.orders.basic);
    expect(answer).toMatchObject({ status: 200, body: INACTIVE });
    expect(answer.body).toEqual(INACTIVE);
  });

  test.each<{ name: string; token: (all: Setup) => Promise<string> | string }>([
    { name: 'garbage', token: () => 'x' },
    { name: 'a token of 8,193 characters', token: () => 'x'.repeat(8193) },
    { name: 'a changed signature', token: ({ token }) => `${token.slice(0, -8)}AAAAAAAA` },
    {
      name: 'an assertion',
      token: async ({ shop }) => (await shop.assertion()).client_assertion ?? '',
    },
    {
      name: 'a token for another resource, of a broker',
      token: async ({ authority }) => {
        const device = await addDevice(authority);
        const { body } = await authority.token(await device.assertion(), { resource: BROKER });
        return (body as { access_token: string }).access_token;
      },
    },
    { name: 'a token for the management API', token: ({ authority }) => authority.operatorToken() },
  ])('for $name', async ({ token }) => {
    const all = await setup();
    expect((await ask(all, await token(all), all.orders.basic)).body).toEqual(INACTIVE);
  });

  test.each(['stranger', 'shop'] as const)(
    'for %s, who is not the resource server',
    async (caller) => {
      const all = await setup();
      expect((await ask(all, all.token, all[caller].basic)).body).toEqual(INACTIVE);
    },
  );
});

describe('an operator', () => {
  const bearer = async ({ authority }: Setup) => ({
    authorization: `Bearer ${await authority.operatorToken()}`,
  });

  test('sees the tokens of every resource, with a bearer token', async () => {
    const all = await setup();
    expect((await ask(all, all.token, await bearer(all))).body).toMatchObject({ aud: ORDERS });
    const own = await all.authority.operatorToken();
    expect((await ask(all, own, await bearer(all))).body).toMatchObject({ client_id: 'operator' });
  });

  test.each([
    { name: 'the scope tokens:introspect', role: 'tokens:introspect', status: 200 },
    { name: 'another scope', role: 'clients:read', status: 403 },
  ])('with $name: $status', async ({ role, status }) => {
    const all = await setup();
    const { authority } = all;
    await authority.api('POST', '/roles', { name: role, permissions: [role] });
    const auditor = await addService(authority, 'auditor', { roles: [role] });
    const grant = { grant_type: 'client_credentials' };
    const { body } = await post(authority, '/token', grant, auditor.basic);
    const authorization = `Bearer ${body.access_token}`;
    const answer = await ask(all, all.token, { authorization });
    expect(answer.status).toBe(status);
    if (status === 200) expect(answer.body).toMatchObject({ active: true, client_id: 'shop' });
    else expect(answer.headers['www-authenticate']).toContain('insufficient_scope');
    // The same right counts when it authenticates as a client.
    const direct = await ask(all, all.token, auditor.basic);
    expect(direct.body.active).toBe(status === 200);
  });

  test('that is limited to a label learns of clients with that label only', async () => {
    const all = await setup();
    const { authority } = all;
    const limitedToLabel = { key: 'site', value: 'berlin' };
    const roles = ['operator'];
    const limited = await addService(authority, 'berlin', { roles, limitedToLabel });
    expect((await ask(all, all.token, limited.basic)).body).toEqual(INACTIVE);
    await authority.registry.patchClient(all.shop.clientId, {
      labels: new Map([['site', 'berlin']]),
    });
    expect((await ask(all, all.token, limited.basic)).body).toMatchObject({ active: true });
  });

  test('whose token was revoked is refused', async () => {
    const all = await setup();
    const { authority } = all;
    const token = await authority.operatorToken();
    const { jti, expiresAt } = authority.log.all('token.issued').at(-1) ?? {};
    await authority.registry.revokeToken({
      jti: String(jti),
      clientId: 'operator' as never,
      expiresAt: Number(expiresAt),
    });
    const answer = await ask(all, all.token, { authorization: `Bearer ${token}` });
    expect(answer).toMatchObject({ status: 401, body: { error: 'invalid_token' } });
  });
});

describe('refused:', () => {
  test.each<{ name: string; headers: Readonly<Record<string, string>>; error: string }>([
    { name: 'no credentials', headers: {}, error: 'invalid_client' },
    { name: 'a wrong secret', headers: basic('orders', newSecret()), error: 'invalid_client' },
    { name: 'a bad bearer token', headers: { authorization: 'Bearer x' }, error: 'invalid_token' },
  ])('$name', async ({ headers, error }) => {
    const all = await setup();
    const answer = await ask(all, all.token, headers);
    expect(answer).toMatchObject({ status: 401, body: { error } });
    expect(answer.headers['www-authenticate']).toMatch(/^(Basic|Bearer) realm=/);
  });

  test('no token', async () => {
    const all = await setup();
    const answer = await post(all.authority, '/introspect', {}, all.orders.basic);
    expect(answer).toMatchObject({
      status: 400,
      body: { error: 'invalid_request', error_description: 'token is missing' },
    });
  });

  test('GET, so that no token is ever in a URL', async () => {
    const { authority } = await setup();
    const response = await authority.authority.app.inject('/introspect?token=x');
    expect(response.statusCode).toBe(404);
  });
});

test('no token that was asked about is in the log', async () => {
  const all = await setup();
  await ask(all, all.token, all.orders.basic);
  await ask(all, all.token, basic('orders', newSecret()));
  await ask(all, all.token, {});
  expect(all.authority.log.text()).not.toContain(all.token);
  const files = readdirSync(all.authority.dataDir).filter((name) => name.startsWith('registry'));
  for (const name of files) {
    const bytes = readFileSync(`${all.authority.dataDir}/${name}`);
    expect(bytes.includes(all.token)).toBe(false);
  }
});
