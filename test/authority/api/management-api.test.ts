/** The management API: who may, what is made, and that a refusal names the field and changes nothing. */
import { dataDirPaths, managementResource, readOperatorKey } from '@latchkey/authority';
import { generateKey, signAssertion } from '@latchkey/shared';
import { describe, expect, test } from 'vitest';
import {
  addDevice,
  addThermostatRole,
  BROKER,
  execSql,
  openTestAuthority,
  type TestAuthority,
} from '../../helpers/test-authority.ts';

async function setup(): Promise<TestAuthority> {
  const authority = await openTestAuthority();
  await addThermostatRole(authority);
  return authority;
}

const JWK = generateKey().publicKey.jwk;

describe('what is created', () => {
  test('is answered with 201, shown and listed', async () => {
    const authority = await setup();
    const created_at = authority.clock.now();
    const device = await authority.api('POST', '/devices', { client_id: 't-1', public_key: JWK });
    expect(device.status).toBe(201);
    expect((await authority.api('GET', '/devices/t-1')).body).toEqual(device.body);
    const encoded = encodeURIComponent(BROKER);
    expect((await authority.api('GET', `/resources/${encoded}`)).body).toEqual({
      identifier: BROKER,
      kind: 'mqtt',
      token_ttl_seconds: 600,
      signing_alg: 'EdDSA',
      narrows_scope: false,
      has_legacy_claims: false,
      created_at,
      version: 1,
    });
    expect((await authority.api('GET', '/permissions/telemetry')).body).toEqual({
      name: 'telemetry',
      resource: BROKER,
      scopes: ['pub:devices/{client_id}/telemetry/#'],
      created_at,
      version: 1,
    });
    expect((await authority.api('GET', '/roles/thermostat')).body).toEqual({
      name: 'thermostat',
      permissions: ['commands', 'telemetry'],
      created_at,
      version: 1,
    });
    expect((await authority.api('GET', '/roles')).body).toEqual({
      items: [
        { name: 'operator', permissions: ['all'], created_at, version: 1 },
        { name: 'thermostat', permissions: ['commands', 'telemetry'], created_at, version: 1 },
      ],
      next: null,
    });
  });

  test('as an enrollment code is in that one answer only', async () => {
    const authority = await setup();
    const { status, body } = await authority.api('POST', '/enrollments', {
      id_pattern: 't-*',
      roles: ['thermostat'],
      labels: { site: 'berlin' },
      uses: 5,
      expires_in_seconds: 60,
    });
    const now = authority.clock.now();
    const shown = {
      id: 1,
      client_id: null,
      id_pattern: 't-*',
      roles: ['thermostat'],
      labels: { site: 'berlin' },
      uses: 5,
      uses_left: 5,
      expires_at: now + 60,
      revoked_at: null,
      created_at: now,
      version: 1,
    };
    expect(status).toBe(201);
    expect(body).toEqual({ enrollment_code: expect.stringMatching(/^lke_.{22}$/), ...shown });
    expect((await authority.api('GET', '/enrollments/1')).body).toEqual(shown);
    expect((await authority.api('GET', '/enrollments')).body).toEqual({
      items: [shown],
      next: null,
    });
    const { enrollment_code: code } = body as { enrollment_code: string };
    expect(authority.dump()).not.toContain(code);
  });

  test('as a resource may have an identifier of 255 characters', async () => {
    const authority = await setup();
    const identifier = `urn:x:${'%20'.repeat(83)}`;
    expect(identifier).toHaveLength(255);
    const created = await authority.api('POST', '/resources', { identifier, kind: 'http' });
    expect(created.status).toBe(201);
    const shown = await authority.api('GET', `/resources/${encodeURIComponent(identifier)}`);
    expect(shown.body).toMatchObject({ identifier });
  });
});

describe('lists', () => {
  test('come in pages that together hold every item once', async () => {
    const authority = await setup();
    const ids = Array.from({ length: 7 }, (_, i) => `d-${i}`);
    for (const client_id of ids) await authority.api('POST', '/devices', { client_id });
    const seen: string[] = [];
    let after: string | null = '';
    const sizes: number[] = [];
    while (after !== null) {
      const query: string = after === '' ? '' : `&after=${after}`;
      const { body } = await authority.api('GET', `/devices?limit=3${query}`);
      const page = body as { items: { client_id: string }[]; next: string | null };
      sizes.push(page.items.length);
      seen.push(...page.items.map(({ client_id }) => client_id));
      after = page.next;
    }
    expect(seen).toEqual(ids);
    expect(sizes).toEqual([3, 3, 1]);
  });

  test.each([
    { query: 'limit=0', field: 'limit' },
    { query: 'limit=1001', field: 'limit' },
    { query: 'limit=x', field: 'limit' },
    { query: 'limit=1&limit=2', field: 'limit' },
    { query: 'order=desc', field: 'order' },
  ])('refuse ?$query', async ({ query, field }) => {
    const authority = await setup();
    const { status, body } = await authority.api('GET', `/devices?${query}`);
    expect(status).toBe(400);
    expect((body as { errors: { field: string }[] }).errors.map((e) => e.field)).toContain(field);
  });

  test('of enrollments refuse a cursor that is no id', async () => {
    const authority = await setup();
    expect((await authority.api('GET', '/enrollments?after=x')).status).toBe(400);
    expect((await authority.api('GET', '/devices?limit=1000')).status).toBe(200);
  });
});

describe('a refused change names the field and changes nothing:', () => {
  const POINTS = [
    `AQ${'A'.repeat(41)}`,
    'A'.repeat(43),
    Buffer.from('ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f', 'hex').toString(
      'base64url',
    ),
    Buffer.from('26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05', 'hex').toString(
      'base64url',
    ),
    Buffer.from('edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f', 'hex').toString(
      'base64url',
    ),
  ];

  test.each([
    {
      name: 'resource: not a URI',
      path: '/resources',
      body: { identifier: 'x', kind: 'mqtt' },
      fields: ['identifier'],
    },
    {
      name: 'resource: a fragment',
      path: '/resources',
      body: { identifier: 'a:b#c', kind: 'mqtt' },
      fields: ['identifier'],
    },
    {
      name: 'resource: unknown kind',
      path: '/resources',
      body: { identifier: 'a:b', kind: 'tcp' },
      fields: ['kind'],
    },
    {
      name: 'resource: 59 s',
      path: '/resources',
      body: { identifier: 'a:b', kind: 'mqtt', token_ttl_seconds: 59 },
      fields: ['token_ttl_seconds'],
    },
    {
      name: 'resource: 86,401 s',
      path: '/resources',
      body: { identifier: 'a:b', kind: 'mqtt', token_ttl_seconds: 86_401 },
      fields: ['token_ttl_seconds'],
    },
    {
      name: 'resource: a fraction',
      path: '/resources',
      body: { identifier: 'a:b', kind: 'mqtt', token_ttl_seconds: 60.5 },
      fields: ['token_ttl_seconds'],
    },
    {
      name: 'resource: all problems at once',
      path: '/resources',
      body: { kind: 'tcp', token_ttl_seconds: '60', x: 1, y: 2 },
      fields: ['identifier', 'kind', 'token_ttl_seconds', 'x', 'y'],
    },
    {
      name: 'permission: filter a/#/b',
      path: '/permissions',
      body: { name: 'p', resource: BROKER, scopes: ['pub:a/#/b'] },
      fields: ['scopes.0'],
    },
    {
      name: 'permission: unknown placeholder',
      path: '/permissions',
      body: { name: 'p', resource: BROKER, scopes: ['pub:a', 'pub:{user}'] },
      fields: ['scopes.1'],
    },
    {
      name: 'permission: unknown action',
      path: '/permissions',
      body: { name: 'p', resource: BROKER, scopes: ['write:a'] },
      fields: ['scopes.0'],
    },
    {
      name: 'permission: 65 scopes',
      path: '/permissions',
      body: { name: 'p', resource: BROKER, scopes: Array(65).fill('pub:a') },
      fields: ['scopes'],
    },
    {
      name: 'permission: no scope for an mqtt resource',
      path: '/permissions',
      body: { name: 'p', resource: BROKER },
      fields: ['scopes'],
    },
    {
      name: 'permission: scopes for an http resource',
      path: '/permissions',
      body: { name: 'p', resource: 'https://id.example/api', scopes: ['pub:a'] },
      fields: ['scopes'],
    },
    {
      name: 'permission: unknown resource',
      path: '/permissions',
      body: { name: 'p', resource: 'mqtts://other.example', scopes: ['pub:a'] },
      fields: ['resource'],
    },
    {
      name: 'permission: a name like a topic scope',
      path: '/permissions',
      body: { name: 'pub:a', resource: BROKER, scopes: ['pub:a'] },
      fields: ['name'],
    },
    {
      name: 'role: unknown permission',
      path: '/roles',
      body: { name: 'r', permissions: ['telemetry', 'nope'] },
      fields: ['permissions'],
    },
    {
      name: 'role: no permission',
      path: '/roles',
      body: { name: 'r', permissions: [] },
      fields: ['permissions'],
    },
    {
      name: 'device: id with /',
      path: '/devices',
      body: { client_id: 'a/b' },
      fields: ['client_id'],
    },
    {
      name: 'device: id with NUL',
      path: '/devices',
      body: { client_id: 'a\0' },
      fields: ['client_id'],
    },
    {
      name: 'device: unknown role',
      path: '/devices',
      body: { client_id: 'd', public_key: JWK, roles: ['nope'] },
      fields: ['roles'],
    },
    {
      name: 'device: role as SQL',
      path: '/devices',
      body: { client_id: 'd', roles: ["' OR 1=1"] },
      fields: ['roles.0'],
    },
    {
      name: 'device: label with /',
      path: '/devices',
      body: { client_id: 'd', labels: { site: 'a/b' } },
      fields: ['labels.site'],
    },
    {
      name: 'device: label with +',
      path: '/devices',
      body: { client_id: 'd', labels: { site: '+' } },
      fields: ['labels.site'],
    },
    {
      name: 'device: empty label',
      path: '/devices',
      body: { client_id: 'd', labels: { site: '' } },
      fields: ['labels.site'],
    },
    {
      name: 'device: label that is no text',
      path: '/devices',
      body: { client_id: 'd', labels: { site: 1 } },
      fields: ['labels.site'],
    },
    {
      name: 'device: label key of capitals',
      path: '/devices',
      body: { client_id: 'd', labels: { Site: 'x' } },
      fields: ['labels'],
    },
    {
      name: 'device: labels as a list',
      path: '/devices',
      body: { client_id: 'd', labels: ['site=x'] },
      fields: ['labels'],
    },
    {
      name: 'device: a label named __proto__',
      path: '/devices',
      body: { client_id: 'd', labels: JSON.parse('{"__proto__":"x"}') },
      fields: ['labels'],
    },
    {
      name: 'device: private key',
      path: '/devices',
      body: { client_id: 'd', public_key: { ...JWK, d: JWK.x } },
      fields: ['public_key'],
    },
    {
      name: 'device: null key',
      path: '/devices',
      body: { client_id: 'd', public_key: null },
      fields: ['public_key'],
    },
    ...POINTS.map((x) => ({
      name: `device: weak key ${x.slice(0, 6)}`,
      path: '/devices',
      body: { client_id: 'd', public_key: { ...JWK, x } },
      fields: ['public_key'],
    })),
    {
      name: 'enrollment: both targets',
      path: '/enrollments',
      body: { client_id: 'd', id_pattern: '*' },
      fields: ['id_pattern'],
    },
    {
      name: 'enrollment: pattern with ?',
      path: '/enrollments',
      body: { id_pattern: 't-?' },
      fields: ['id_pattern'],
    },
    {
      name: 'enrollment: two uses for one client',
      path: '/enrollments',
      body: { client_id: 'd', uses: 2 },
      fields: ['uses'],
    },
    { name: 'enrollment: no uses', path: '/enrollments', body: { uses: 0 }, fields: ['uses'] },
    {
      name: 'enrollment: too many uses',
      path: '/enrollments',
      body: { uses: 1_000_001 },
      fields: ['uses'],
    },
    {
      name: 'enrollment: 0 s',
      path: '/enrollments',
      body: { expires_in_seconds: 0 },
      fields: ['expires_in_seconds'],
    },
    {
      name: 'enrollment: more than a year',
      path: '/enrollments',
      body: { expires_in_seconds: 31_536_001 },
      fields: ['expires_in_seconds'],
    },
    {
      name: 'enrollment: unknown role',
      path: '/enrollments',
      body: { roles: ['nope'] },
      fields: ['roles'],
    },
  ])('$name', async ({ path, body, fields }) => {
    const authority = await setup();
    const before = authority.dump();
    const answer = await authority.api('POST', path, body);
    expect(answer.status).toBe(400);
    expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/);
    expect(answer.body).toMatchObject({ title: 'Bad Request', status: 400 });
    const { errors } = answer.body as { errors: { field: string; message: string }[] };
    expect(errors.map(({ field }) => field).sort()).toEqual(fields);
    expect(errors.every(({ message }) => message.length > 0)).toBe(true);
    expect(authority.dump()).toBe(before);
  });

  test.each([
    {
      name: 'resource',
      path: '/resources',
      body: { identifier: BROKER, kind: 'mqtt' },
      field: 'identifier',
    },
    {
      name: 'permission',
      path: '/permissions',
      body: { name: 'telemetry', resource: BROKER, scopes: ['pub:a'] },
      field: 'name',
    },
    {
      name: 'role',
      path: '/roles',
      body: { name: 'thermostat', permissions: ['telemetry'] },
      field: 'name',
    },
    { name: 'device', path: '/devices', body: { client_id: 't-42' }, field: 'client_id' },
    {
      name: 'device named as a service',
      path: '/devices',
      body: { client_id: 'operator' },
      field: 'client_id',
    },
  ])('a second $name of that name: 409', async ({ path, body, field }) => {
    const authority = await setup();
    await addDevice(authority, 't-42');
    const before = authority.dump();
    const answer = await authority.api('POST', path, body);
    expect(answer).toMatchObject({
      status: 409,
      body: { errors: [{ field, message: 'is taken' }] },
    });
    expect(authority.dump()).toBe(before);
  });

  test('a key of another device: 409, and the device is not half made', async () => {
    const authority = await setup();
    const { key } = await addDevice(authority, 't-42');
    const before = authority.dump();
    const answer = await authority.api('POST', '/devices', {
      client_id: 't-43',
      public_key: key.publicKey.jwk,
      roles: ['thermostat'],
      labels: { site: 'berlin' },
    });
    expect(answer).toMatchObject({ status: 409, body: { errors: [{ field: 'public_key' }] } });
    expect(authority.dump()).toBe(before);
  });

  test('a role whose label is missing names the label', async () => {
    const authority = await setup();
    const scopes = ['pub:sites/{labels.site}/+'];
    await authority.api('POST', '/permissions', { name: 'site', resource: BROKER, scopes });
    await authority.api('POST', '/roles', { name: 'sited', permissions: ['site'] });
    const before = authority.dump();
    const expected = {
      status: 400,
      body: { errors: [{ field: 'labels.site', message: 'is missing; role sited needs it' }] },
    };
    const device = { client_id: 's-1', public_key: JWK, roles: ['sited'] };
    expect(await authority.api('POST', '/devices', device)).toMatchObject(expected);
    expect(await authority.api('POST', '/enrollments', { roles: ['sited'] })).toMatchObject(
      expected,
    );
    expect(authority.dump()).toBe(before);
    const labels = { site: 'berlin' };
    expect((await authority.api('POST', '/devices', { ...device, labels })).status).toBe(201);
    // The device's own labels count for a code that is for it.
    const code = { client_id: 's-1', roles: ['sited'] };
    expect((await authority.api('POST', '/enrollments', code)).status).toBe(201);
  });

  test.each([
    { name: '1 MB', size: 1_000_000, status: 413 },
    { name: 'one byte over 64 KiB', size: 65_537, status: 413 },
    { name: '64 KiB', size: 65_536, status: 400 },
  ])('a body of $name: $status', async ({ size, status }) => {
    const authority = await setup();
    const authorization = `Bearer ${await authority.operatorToken()}`;
    const before = authority.dump();
    const empty = '{"client_id":""}';
    const response = await authority.authority.app.inject({
      method: 'POST',
      url: '/api/v1/devices',
      headers: { authorization, 'content-type': 'application/json' },
      payload: empty.replace('""', `"${'x'.repeat(size - empty.length)}"`),
    });
    expect(response.statusCode).toBe(status);
    expect(response.headers['content-type']).toMatch(/^application\/problem\+json/);
    expect(authority.dump()).toBe(before);
  });

  test.each([
    { name: 'no body', headers: {}, payload: '', status: 400 },
    {
      name: 'a form',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      payload: 'client_id=d',
      status: 415,
    },
    { name: 'text', headers: { 'content-type': 'text/plain' }, payload: 'x', status: 415 },
    {
      name: 'not JSON',
      headers: { 'content-type': 'application/json' },
      payload: '{',
      status: 400,
    },
    {
      name: 'ill-formed UTF-8',
      headers: { 'content-type': 'application/json' },
      payload: Buffer.from('7b22ff223a317d', 'hex'),
      status: 400,
    },
    {
      name: 'a member twice',
      headers: { 'content-type': 'application/json' },
      payload: '{"client_id":"a","client_id":"b"}',
      status: 400,
    },
  ])('$name: $status', async ({ headers, payload, status }) => {
    const authority = await setup();
    const authorization = `Bearer ${await authority.operatorToken()}`;
    const before = authority.dump();
    const response = await authority.authority.app.inject({
      method: 'POST',
      url: '/api/v1/devices',
      headers: { authorization, ...headers },
      payload,
    });
    expect(response.statusCode).toBe(status);
    expect(authority.dump()).toBe(before);
  });
});

describe('what does not exist is 404:', () => {
  test.each([
    '/devices/nope',
    '/devices/operator',
    '/devices/a%2Fb',
    '/roles/nope',
    '/permissions/nope',
    '/resources/mqtts%3A%2F%2Fother.example',
    '/resources/x',
    '/enrollments/7',
    '/enrollments/x',
    '/enrollments/1%20OR%201',
  ])('%s', async (path) => {
    const authority = await setup();
    expect(await authority.api('GET', path)).toMatchObject({ status: 404, body: { status: 404 } });
  });
});

describe('only an operator may', () => {
  const ask = (authority: TestAuthority, authorization?: string) =>
    authority.authority.app.inject({
      method: 'POST',
      url: '/api/v1/devices',
      headers: { 'content-type': 'application/json', ...(authorization && { authorization }) },
      payload: { client_id: 'mallory' },
    });

  test.each([
    { name: 'no token', authorization: undefined, challenge: 'Bearer' },
    {
      name: 'another scheme',
      authorization: 'Basic b3BlcmF0b3I6eA==',
      challenge: 'Bearer error="invalid_token"',
    },
    { name: 'not a JWT', authorization: 'Bearer x', challenge: 'Bearer error="invalid_token"' },
    { name: 'two tokens', authorization: 'Bearer x y', challenge: 'Bearer error="invalid_token"' },
  ])('$name: 401', async ({ authorization, challenge }) => {
    const authority = await setup();
    const before = authority.dump();
    const response = await ask(authority, authorization);
    expect(response.statusCode).toBe(401);
    expect(response.headers['www-authenticate']).toBe(challenge);
    expect(authority.dump()).toBe(before);
  });

  test("a device's token for the broker: 401", async () => {
    const authority = await setup();
    const device = await addDevice(authority);
    const { body } = await authority.token(await device.assertion());
    const response = await ask(
      authority,
      `Bearer ${(body as { access_token: string }).access_token}`,
    );
    expect(response.statusCode).toBe(401);
  });

  test('an assertion in place of a token: 401', async () => {
    const authority = await setup();
    const { issuer, clock, dataDir } = authority;
    const { signer, clientId } = readOperatorKey(dataDirPaths(dataDir).operatorKey);
    const assertion = await signAssertion(signer, { clientId, issuer, now: clock.now() });
    expect((await ask(authority, `Bearer ${assertion}`)).statusCode).toBe(401);
  });

  test('a token that expired: 401, and in its last second: 201', async () => {
    const authority = await setup();
    const token = `Bearer ${await authority.operatorToken()}`;
    const start = authority.clock.now();
    authority.clock.set(start + 900);
    expect((await ask(authority, token)).statusCode).toBe(401);
    authority.clock.set(start + 899);
    expect((await ask(authority, token)).statusCode).toBe(201);
  });

  test('a token of an operator who was suspended meanwhile: 401', async () => {
    const authority = await setup();
    const token = `Bearer ${await authority.operatorToken()}`;
    execSql(authority, "UPDATE client SET status = 'suspended' WHERE id = 'operator'");
    expect((await ask(authority, token)).statusCode).toBe(401);
  });

  test('a token for this API with another scope: 403', async () => {
    const authority = await setup();
    const resource = managementResource(authority.issuer);
    await authority.api('POST', '/permissions', { name: 'devices:read', resource });
    await authority.api('POST', '/roles', { name: 'reader', permissions: ['devices:read'] });
    const reader = await addDevice(authority, 'reader', { roles: ['reader'] });
    const { body } = await authority.token(await reader.assertion());
    const response = await ask(
      authority,
      `Bearer ${(body as { access_token: string }).access_token}`,
    );
    expect(response.statusCode).toBe(403);
    expect(response.headers['www-authenticate']).toBe('Bearer error="insufficient_scope"');
  });
});
