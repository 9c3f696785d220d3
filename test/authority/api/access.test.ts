/** Who may use which route of the management API: walks all of them, with every kind of operator. */
import { FINER_SCOPES } from '@latchkey/authority';
import { generateKey } from '@latchkey/shared';
import { describe, expect, test } from 'vitest';
import { addOperator, callApi, chiefOperator, type Method } from '../../helpers/operators.ts';
import {
  addDevice,
  addThermostatRole,
  execSql,
  openTestAuthority,
  type TestAuthority,
} from '../../helpers/test-authority.ts';

/** Route, the scope that it needs, and whether an operator that is limited to a label may use it. */
const ROUTES: Readonly<Record<string, readonly [scope: string, concerns: 'clients' | 'fleet']>> = {
  'POST /resources': ['resources:write', 'fleet'],
  'GET /resources': ['resources:read', 'fleet'],
  'GET /resources/{id}': ['resources:read', 'fleet'],
  'PATCH /resources/{id}': ['resources:write', 'fleet'],
  'DELETE /resources/{id}': ['resources:write', 'fleet'],
  'POST /permissions': ['roles:write', 'fleet'],
  'GET /permissions': ['roles:read', 'fleet'],
  'GET /permissions/{id}': ['roles:read', 'fleet'],
  'PATCH /permissions/{id}': ['roles:write', 'fleet'],
  'DELETE /permissions/{id}': ['roles:write', 'fleet'],
  'POST /roles': ['roles:write', 'fleet'],
  'GET /roles': ['roles:read', 'fleet'],
  'GET /roles/{id}': ['roles:read', 'fleet'],
  'PATCH /roles/{id}': ['roles:write', 'fleet'],
  'DELETE /roles/{id}': ['roles:write', 'fleet'],
  ...Object.fromEntries(
    ['/clients', '/devices', '/services'].flatMap((path) => [
      [`POST ${path}`, ['clients:write', 'clients']],
      [`GET ${path}`, ['clients:read', 'clients']],
      [`GET ${path}/{id}`, ['clients:read', 'clients']],
      [`PATCH ${path}/{id}`, ['clients:write', 'clients']],
      [`DELETE ${path}/{id}`, ['clients:write', 'clients']],
    ]),
  ),
  'POST /clients/{id}/suspend': ['clients:write', 'clients'],
  'POST /clients/{id}/resume': ['clients:write', 'clients'],
  'POST /clients/{id}/revoke': ['clients:write', 'clients'],
  'POST /clients/{id}/void-tokens': ['clients:write', 'clients'],
  'POST /clients/{id}/free': ['clients:write', 'fleet'],
  'GET /clients/{id}/keys': ['clients:read', 'clients'],
  'POST /clients/{id}/keys': ['clients:write', 'clients'],
  'DELETE /clients/{id}/keys/{kid}': ['clients:write', 'clients'],
  'POST /clients/{id}/keys/rotation/start': ['clients:write', 'clients'],
  'POST /clients/{id}/keys/rotation/finish': ['clients:write', 'clients'],
  'POST /clients/{id}/keys/rotation/cancel': ['clients:write', 'clients'],
  'GET /clients/{id}/secrets': ['clients:read', 'clients'],
  'POST /clients/{id}/secrets': ['clients:write', 'clients'],
  'DELETE /clients/{id}/secrets/{secret}': ['clients:write', 'clients'],
  'POST /clients/{id}/secrets/rotation/start': ['clients:write', 'clients'],
  'POST /clients/{id}/secrets/rotation/finish': ['clients:write', 'clients'],
  'POST /clients/{id}/secrets/rotation/cancel': ['clients:write', 'clients'],
  'POST /enrollments': ['enrollments:write', 'clients'],
  'POST /devices/import': ['clients:write', 'clients'],
  'POST /services/import': ['clients:write', 'clients'],
  'GET /enrollments': ['enrollments:read', 'clients'],
  'GET /enrollments/{id}': ['enrollments:read', 'clients'],
  'POST /enrollments/{id}/revoke': ['enrollments:write', 'clients'],
  'GET /explain': ['clients:read', 'clients'],
  'GET /fleet/summary': ['clients:read', 'clients'],
  'GET /signing-keys': ['signing-keys:read', 'fleet'],
  'POST /signing-keys/rotate': ['signing-keys:write', 'fleet'],
  'GET /audit': ['audit:read', 'fleet'],
  'GET /audit/state': ['audit:read', 'fleet'],
};

const CASES = Object.entries(ROUTES).map(([name, [scope, concerns]]) => {
  const [method, template] = name.split(' ') as [Method, string];
  return { name, method, path: template.replaceAll(/\{[a-z]+\}/g, 'nobody'), scope, concerns };
});

const KEY_BODY = { public_key: generateKey().publicKey.jwk };
const bodyOf = (method: Method) => (method === 'GET' || method === 'DELETE' ? undefined : {});

/** `METHOD /path` of every route that the server has below the management API. */
function registeredRoutes({ authority }: TestAuthority): readonly string[] {
  const paths: string[] = [];
  return authority.app
    .printRoutes({ commonPrefix: false })
    .split('\n')
    .flatMap((line) => {
      const match = /^([│ ]*)[├└]── (\S+) \(([A-Z, ]+)\)$/.exec(line);
      if (match === null) return [];
      const depth = (match[1] as string).length / 4;
      paths.length = depth;
      paths.push(match[2] as string);
      const methods = (match[3] as string).split(', ').filter((method) => method !== 'HEAD');
      return methods.map((method) => `${method} ${paths.join('')}`);
    })
    .filter((route) => route.includes(' /api/v1/'))
    .map((route) => route.replace('/api/v1', '').replaceAll(/:([a-z]+)/g, '{$1}'))
    .filter((route) => route !== 'GET /openapi.json');
}

describe('every route', () => {
  test('is in the table above, and in the OpenAPI document with its scope', async () => {
    const authority = await openTestAuthority();
    const routes = registeredRoutes(authority);
    expect([...routes].sort()).toEqual(Object.keys(ROUTES).sort());
    const { body } = await callApi(authority, undefined, ['GET', '/openapi.json']);
    const { paths } = body as { paths: Record<string, Record<string, { security: unknown }>> };
    const documented = Object.entries(paths).flatMap(([path, operations]) =>
      Object.entries(operations).map(([method, { security }]) => [
        `${method.toUpperCase()} ${path}`,
        security,
      ]),
    );
    const expected = Object.entries(ROUTES).map(([name, [scope]]) => [name, [{ bearer: [scope] }]]);
    expect(Object.fromEntries(documented)).toEqual(Object.fromEntries(expected));
  });

  test('refuses strangers, other scopes by naming the missing one, and nothing changes', async () => {
    const authority = await openTestAuthority();
    const others = new Map(
      await Promise.all(
        FINER_SCOPES.map(async (scope) => {
          const rest = FINER_SCOPES.filter(
            (one) => one !== scope && one !== scope.replace(':read', ':write'),
          );
          const name = `not-${scope.replace(':', '-')}`;
          const { token } = await addOperator(authority, name, { scopes: rest });
          return [scope as string, await token()] as const;
        }),
      ),
    );
    const before = authority.dump();
    for (const { name, method, path, scope } of CASES) {
      const call = [method, path, bodyOf(method)] as const;
      const stranger = await callApi(authority, undefined, [...call]);
      expect([name, stranger.status]).toEqual([name, 401]);
      expect(stranger.headers['www-authenticate']).toBe('Bearer');
      const other = await callApi(authority, others.get(scope), [...call]);
      expect([name, other.status]).toEqual([name, 403]);
      expect(other.body).toMatchObject({ detail: `the access token lacks the scope ${scope}` });
      expect(other.headers['www-authenticate']).toContain('error="insufficient_scope"');
    }
    expect(authority.dump()).toBe(before);
  });

  test('lets in who has the scope; one that writes also reads', async () => {
    const authority = await openTestAuthority();
    const scopes = [...new Set(CASES.map(({ scope }) => scope))];
    const tokens = new Map<string, string>();
    for (const scope of scopes) {
      const operator = await addOperator(authority, scope.replace(':', '-'), { scopes: [scope] });
      tokens.set(scope, await operator.token());
    }
    for (const { name, method, path, scope } of CASES) {
      const holders = scope.endsWith(':read')
        ? [scope, scope.replace(':read', ':write')].filter((one) => tokens.has(one))
        : [scope];
      for (const holder of holders) {
        const body = bodyOf(method);
        const { status } = await callApi(authority, tokens.get(holder), [method, path, body]);
        expect([name, [401, 403].includes(status)]).toEqual([name, false]);
      }
    }
  });

  test('that is not about clients refuses an operator limited to a label, whatever its scopes', async () => {
    const authority = await openTestAuthority();
    const limited = await addOperator(authority, 'berlin', { scopes: ['all'], site: 'berlin' });
    const token = await limited.token();
    const before = authority.dump();
    for (const { name, method, path, concerns } of CASES) {
      const { body } = await callApi(authority, token, [method, path, bodyOf(method)]);
      const isLimited = JSON.stringify(body).includes('limited to clients with the label');
      expect([name, isLimited]).toEqual([name, concerns === 'fleet']);
    }
    // A rotation and the like would have changed something; only items that do not exist were named.
    expect(authority.dump()).toBe(before);
  });
});

describe('an operator limited to site=berlin', () => {
  const setup = async () => {
    const authority = await openTestAuthority();
    await addThermostatRole(authority);
    const chief = chiefOperator(authority);
    for (const [client_id, site] of [
      ['b-1', 'berlin'],
      ['r-1', 'rio'],
    ]) {
      await chief.call('POST', '/devices', { client_id, labels: { site } });
      await chief.call('POST', '/enrollments', { labels: { site } });
    }
    const limited = await addOperator(authority, 'op', {
      scopes: ['clients:write', 'enrollments:write'],
      site: 'berlin',
    });
    return { authority, chief, limited };
  };
  const ids = (body: unknown) =>
    (body as { items: Record<string, unknown>[] }).items.map((item) => item.client_id ?? item.id);

  test('sees its own, also when it asks for others', async () => {
    const { limited } = await setup();
    expect(ids((await limited.call('GET', '/clients')).body)).toEqual(['b-1', 'op']);
    expect(ids((await limited.call('GET', '/devices?label=site=rio')).body)).toEqual([]);
    expect(ids((await limited.call('GET', '/enrollments')).body)).toEqual([1]);
  });

  test.each(
    CASES.filter(({ concerns, path }) => concerns === 'clients' && path.includes('nobody')),
  )('finds nothing of others: $name', async ({ method, path }) => {
    const { authority, limited } = await setup();
    const before = authority.dump();
    const id = path.startsWith('/enrollments') ? '2' : 'r-1';
    const body = /keys(\/rotation\/start)?$/.test(path) ? KEY_BODY : {};
    const call = path.replace('nobody', id).replace('nobody', '1');
    const sent = method === 'POST' || method === 'PATCH' ? body : undefined;
    const { status } = await limited.call(method, call, sent);
    expect(status).toBe(404);
    expect(authority.dump()).toBe(before);
  });
  test.each([
    { name: 'create elsewhere', method: 'POST', path: '/devices', body: { client_id: 'x' } },
    {
      name: 'create with another label',
      method: 'POST',
      path: '/clients',
      body: { client_id: 'x', kind: 'service', labels: { site: 'rio' } },
    },
    {
      name: 'give rights at the management API',
      method: 'POST',
      path: '/services',
      body: { client_id: 'x', labels: { site: 'berlin' }, roles: ['operator'] },
    },
    {
      name: 'give rights at the management API later',
      method: 'PATCH',
      path: '/clients/b-1',
      body: { roles: ['operator'] },
    },
    {
      name: 'give rights at the management API by a code',
      method: 'POST',
      path: '/enrollments',
      body: { labels: { site: 'berlin' }, roles: ['operator'] },
    },
    {
      name: 'limit an operator',
      method: 'PATCH',
      path: '/clients/b-1',
      body: { limited_to_label: null },
    },
    { name: 'change itself', method: 'PATCH', path: '/clients/op', body: { may_mint: true } },
    {
      name: 'take the label away',
      method: 'PATCH',
      path: '/clients/b-1',
      body: { labels: { site: null } },
    },
    { name: 'make codes for elsewhere', method: 'POST', path: '/enrollments', body: {} },
    {
      name: 'make a code for the client of another',
      method: 'POST',
      path: '/enrollments',
      body: { client_id: 'r-1', labels: { site: 'berlin' } },
    },
  ] as const)('may not $name', async ({ method, path, body }) => {
    const { authority, limited } = await setup();
    const before = authority.dump();
    const { status } = await limited.call(method, path, body);
    expect(status).toBe(403);
    expect(authority.dump()).toBe(before);
  });

  test('does everything to its own', async () => {
    const { limited } = await setup();
    const made = await limited.call('POST', '/services', {
      ...{ client_id: 's-1', labels: { site: 'berlin' }, roles: ['thermostat'] },
    });
    expect(made.status).toBe(201);
    expect((await limited.call('POST', '/clients/s-1/secrets', {})).status).toBe(201);
    expect((await limited.call('PATCH', '/clients/s-1', { may_mint: true })).status).toBe(200);
    const code = await limited.call('POST', '/enrollments', { labels: { site: 'berlin' } });
    expect(code.status).toBe(201);
    expect((await limited.call('POST', '/clients/s-1/revoke', {})).status).toBe(200);
    expect((await limited.call('DELETE', '/services/s-1')).status).toBe(204);
  });
});

describe('nobody makes itself wider', () => {
  test.each([
    {
      name: 'give a role with rights there',
      method: 'PATCH',
      path: '/clients/t-1',
      body: { roles: ['operator'] },
    },
    {
      name: 'widen its own role',
      method: 'PATCH',
      path: '/roles/role-part',
      body: { permissions: ['all'] },
    },
    {
      name: 'add to a role there',
      method: 'PATCH',
      path: '/roles/thermostat',
      body: { permissions: ['all'] },
    },
    {
      name: 'take from a role there',
      method: 'PATCH',
      path: '/roles/operator',
      body: { permissions: ['telemetry'] },
    },
    {
      name: 'make a role there',
      method: 'POST',
      path: '/roles',
      body: { name: 'r', permissions: ['all'] },
    },
    {
      name: 'make a permission there',
      method: 'POST',
      path: '/permissions',
      body: { name: 'p', resource: 'https://id.example/api' },
    },
    {
      name: 'change the resource',
      method: 'PATCH',
      path: `/resources/${encodeURIComponent('https://id.example/api')}`,
      body: { token_ttl_seconds: 86_400 },
    },
    {
      name: 'take over an operator by a key',
      method: 'POST',
      path: '/clients/operator/keys',
      body: { public_key: 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a' },
    },
    {
      name: 'take over an operator by a secret',
      method: 'POST',
      path: '/clients/operator/secrets',
      body: {},
    },
    { name: 'end an operator', method: 'POST', path: '/clients/operator/revoke', body: {} },
    { name: 'delete an operator', method: 'DELETE', path: '/services/operator' },
    { name: 'delete a role there', method: 'DELETE', path: '/roles/operator' },
    { name: 'delete a permission there', method: 'DELETE', path: '/permissions/audit:read' },
  ] as const)('every scope but all may not $name', async ({ method, path, ...more }) => {
    const authority = await openTestAuthority();
    await addThermostatRole(authority);
    const operator = await addOperator(authority, 'part', { scopes: FINER_SCOPES });
    await addDevice(authority, 't-1');
    const before = authority.dump();
    const { status } = await operator.call(method, path, 'body' in more ? more.body : undefined);
    expect(status).toBe(403);
    expect(authority.dump()).toBe(before);
    // An operator that is everything may, but for what would end itself or is in use.
    if (path.includes('operator') || method === 'DELETE') return;
    const allowed = await chiefOperator(authority).call(
      ...([method, path, 'body' in more ? more.body : undefined] as const),
    );
    expect(allowed.status).toBeLessThan(300);
  });

  test.each([
    { name: 'suspend itself', method: 'POST', path: '/clients/operator/suspend', body: {} },
    { name: 'revoke itself', method: 'POST', path: '/clients/operator/revoke', body: {} },
    { name: 'delete itself', method: 'DELETE', path: '/clients/operator' },
    { name: 'delete itself as a service', method: 'DELETE', path: '/services/operator' },
    { name: 'drop its roles', method: 'PATCH', path: '/clients/operator', body: { roles: [] } },
    {
      name: 'take all from its role',
      method: 'PATCH',
      path: '/roles/operator',
      body: { permissions: ['audit:read'] },
    },
  ] as const)(
    'the last operator cannot lock everybody out: $name',
    async ({ method, path, ...more }) => {
      const authority = await openTestAuthority();
      const before = authority.dump();
      const body = 'body' in more ? more.body : undefined;
      expect((await chiefOperator(authority).call(method, path, body)).status).toBe(409);
      expect(authority.dump()).toBe(before);
    },
  );
});

describe('a token for the management API', () => {
  test.each([
    {
      name: 'of a suspended client',
      sql: "UPDATE client SET status = 'suspended' WHERE id = 'op'",
      status: 401,
    },
    {
      name: 'of a client whose tokens are void',
      sql: "UPDATE client SET tokens_not_before = 4000000000 WHERE id = 'op'",
      status: 401,
    },
    {
      name: 'of a client that lost its role',
      sql: "DELETE FROM client_role WHERE client = 'op'",
      status: 403,
    },
    {
      name: 'of a client that was limited since',
      sql: "UPDATE client SET limit_key = 'site', limit_value = 'x' WHERE id = 'op'",
      status: 403,
    },
    { name: 'of a client as it was', sql: 'SELECT 1', status: 200 },
  ])('$name: $status at once', async ({ sql, status }) => {
    const authority = await openTestAuthority();
    const token = await (await addOperator(authority, 'op', { scopes: ['all'] })).token();
    execSql(authority, sql);
    expect((await callApi(authority, token, ['GET', '/roles'])).status).toBe(status);
  });
});
