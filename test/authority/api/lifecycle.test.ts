/** The management API over the life of clients, their keys and secrets, and of the catalog. */
import { generateKey } from '@latchkey/shared';
import { describe, expect, test } from 'vitest';
import { chiefOperator, type Method, type TestOperator } from '../../helpers/operators.ts';
import {
  addCode,
  addDevice,
  addThermostatRole,
  BROKER,
  createTestDevice,
  enrollmentRequest,
  openTestAuthority,
  type TestAuthority,
} from '../../helpers/test-authority.ts';

async function setup(): Promise<{ authority: TestAuthority; chief: TestOperator }> {
  const authority = await openTestAuthority();
  await addThermostatRole(authority);
  return { authority, chief: chiefOperator(authority) };
}

const jwk = () => generateKey().publicKey.jwk;
const members = (body: unknown) => body as Record<string, never>;
const fieldsOf = (body: unknown) =>
  (body as { errors: { field: string }[] }).errors.map((e) => e.field);

describe('entity tags', () => {
  test.each([
    { name: 'client', path: '/clients/t-1', body: { may_mint: true } },
    { name: 'device', path: '/devices/t-1', body: { labels: { site: 'x' } } },
    { name: 'role', path: '/roles/thermostat', body: { permissions: ['telemetry'] } },
    { name: 'permission', path: '/permissions/telemetry', body: { scopes: ['pub:a'] } },
    {
      name: 'resource',
      path: `/resources/${encodeURIComponent(BROKER)}`,
      body: { token_ttl_seconds: 60 },
    },
  ])('of a $name: one change for one version', async ({ path, body }) => {
    const { authority, chief } = await setup();
    await addDevice(authority, 't-1');
    const etag = String((await chief.call('GET', path)).headers.etag);
    expect(etag).toBe('"1"');
    const stale = await chief.call('PATCH', path, body, { 'if-match': '"7"' });
    expect([stale.status, stale.body]).toEqual([412, expect.objectContaining({ status: 412 })]);
    for (const header of ['W/"1"', '1', '"x"', '']) {
      const { status } = await chief.call('PATCH', path, body, { 'if-match': header });
      expect([header, status]).toEqual([header, 412]);
    }
    const first = await chief.call('PATCH', path, body, { 'if-match': `"9", ${etag}` });
    expect([first.status, first.headers.etag]).toEqual([200, '"2"']);
    expect((await chief.call('PATCH', path, body, { 'if-match': etag })).status).toBe(412);
    expect((await chief.call('PATCH', path, body, { 'if-match': '*' })).status).toBe(200);
    expect((await chief.call('PATCH', path, body)).headers.etag).toBe('"4"');
    expect((await chief.call('GET', path)).headers.etag).toBe('"4"');
  });

  test('a reader that has the version gets 304 and no body; a change is never held back so', async () => {
    const { authority, chief } = await setup();
    await addDevice(authority, 't-1');
    const read = (tag: string) =>
      chief.call('GET', '/devices/t-1', undefined, { 'if-none-match': tag });
    for (const known of ['"1"', 'W/"1"', '"9", "1"', '*']) {
      const { status, headers, body } = await read(known);
      expect([known, status, headers.etag, body]).toEqual([known, 304, '"1"', '']);
    }
    for (const other of ['"2"', '1', '"11"', '', 'x']) {
      expect([other, (await read(other)).status]).toEqual([other, 200]);
    }
    const body = { labels: { site: 'x' } };
    const tag = { 'if-none-match': '"1"' };
    expect((await chief.call('PATCH', '/devices/t-1', body, tag)).status).toBe(200);
    expect((await read('"1"')).status).toBe(200);
    expect((await chief.call('GET', '/devices', undefined, tag)).status).toBe(200);
  });
});

describe('clients', () => {
  test('of either kind are at /clients, and at the path of their kind only', async () => {
    const { chief } = await setup();
    const service = await chief.call('POST', '/services', { client_id: 's-1', may_mint: true });
    expect(service.body).toMatchObject({
      ...{ client_id: 's-1', kind: 'service', status: 'active', may_mint: true, version: 1 },
      ...{ token_ttl_seconds: null, tokens_not_before: 0, limited_to_label: null, secrets: [] },
    });
    const device = { client_id: 'd-1', kind: 'device', token_ttl_seconds: 90 };
    expect((await chief.call('POST', '/clients', device)).body).toMatchObject(device);
    expect((await chief.call('POST', '/clients', { client_id: 'x' })).status).toBe(400);
    const statuses = await Promise.all(
      ['/clients/s-1', '/services/s-1', '/devices/s-1', '/devices/d-1', '/services/d-1'].map(
        async (path) => (await chief.call('GET', path)).status,
      ),
    );
    expect(statuses).toEqual([200, 200, 404, 200, 404]);
    for (const [method, path] of [
      ['PATCH', '/devices/s-1'],
      ['DELETE', '/devices/s-1'],
    ] as const) {
      expect((await chief.call(method, path, method === 'PATCH' ? {} : undefined)).status).toBe(
        404,
      );
    }
  });

  test('are filtered by label, status, role, kind and the beginning of the id', async () => {
    const { chief } = await setup();
    await chief.call('POST', '/devices', { client_id: 'a-1', labels: { site: 'x', floor: '1' } });
    await chief.call('POST', '/devices', { client_id: 'a-2', labels: { site: 'x' } });
    await chief.call('POST', '/devices', { client_id: 'b-1', roles: ['thermostat'] });
    await chief.call('POST', '/services', { client_id: 'b-2', labels: { site: 'x' } });
    await chief.call('POST', '/clients/a-2/suspend', {});
    const found = async (query: string) => {
      const { body } = await chief.call('GET', query);
      return (body as { items: { client_id: string }[] }).items.map((item) => item.client_id);
    };
    expect(await found('/clients?label=site=x')).toEqual(['a-1', 'a-2', 'b-2']);
    expect(await found('/devices?label=site=x')).toEqual(['a-1', 'a-2']);
    expect(await found('/clients?label=site=x&label=floor=1')).toEqual(['a-1']);
    expect(await found('/clients?status=suspended')).toEqual(['a-2']);
    expect(await found('/clients?role=thermostat&status=active')).toEqual(['b-1']);
    expect(await found('/clients?id_prefix=b-&kind=service')).toEqual(['b-2']);
    expect(await found('/clients?label=site=y')).toEqual([]);
  });

  test.each([
    { query: '/clients?label=site', field: 'label' },
    { query: '/clients?label=site=a/b', field: 'label' },
    { query: `/clients?${'label=a=b&'.repeat(9)}`, field: 'label' },
    { query: '/clients?status=gone', field: 'status' },
    { query: '/clients?kind=thing', field: 'kind' },
    { query: '/devices?kind=device', field: 'kind' },
    { query: '/clients?role=a&role=b', field: 'role' },
    { query: `/clients?id_prefix=${'a'.repeat(65)}`, field: 'id_prefix' },
  ])('refuse the filter $query', async ({ query, field }) => {
    const { chief } = await setup();
    const { status, body } = await chief.call('GET', query);
    expect(status).toBe(400);
    expect(fieldsOf(body).map((name) => name.split('.')[0])).toContain(field);
  });

  test.each([
    { name: 'unknown member', body: { status: 'revoked' }, fields: ['status'] },
    { name: 'an unknown role', body: { roles: ['nope'] }, fields: ['roles'] },
    { name: 'a bad label', body: { labels: { site: 'a/b' } }, fields: ['labels.site'] },
    { name: 'a bad label key', body: { labels: { Site: null } }, fields: ['labels'] },
    { name: '59 s', body: { token_ttl_seconds: 59 }, fields: ['token_ttl_seconds'] },
    { name: '86,401 s', body: { token_ttl_seconds: 86_401 }, fields: ['token_ttl_seconds'] },
    { name: 'no boolean', body: { may_mint: 'yes' }, fields: ['may_mint'] },
    {
      name: 'a limit that is no label',
      body: { limited_to_label: { key: 'site', value: '+' } },
      fields: ['limited_to_label'],
    },
  ])('refuse the change: $name', async ({ body, fields }) => {
    const { authority, chief } = await setup();
    await addDevice(authority, 't-1');
    const before = authority.dump();
    const answer = await chief.call('PATCH', '/clients/t-1', body);
    expect([answer.status, fieldsOf(answer.body)]).toEqual([400, fields]);
    expect(authority.dump()).toBe(before);
  });

  test('lose their tokens, keys and secrets at once when revoked, and stay so', async () => {
    const { authority, chief } = await setup();
    const device = await addDevice(authority, 't-1');
    expect((await authority.token(await device.assertion())).status).toBe(200);
    await chief.call('POST', '/clients/t-1/suspend', {});
    expect((await authority.token(await device.assertion())).status).toBe(400);
    await chief.call('POST', '/clients/t-1/resume', {});
    expect((await authority.token(await device.assertion())).status).toBe(200);
    const { body } = await chief.call('POST', '/clients/t-1/revoke', {});
    expect(body).toMatchObject({ status: 'revoked', tokens_not_before: authority.clock.now() });
    expect((await authority.token(await device.assertion())).status).toBe(400);
    const resume = await chief.call('POST', '/clients/t-1/resume', {});
    expect([resume.status, fieldsOf(resume.body)]).toEqual([409, ['status']]);
    expect((await chief.call('POST', '/clients/t-1/revoke', {})).status).toBe(200);
  });

  test('that were deleted leave an id that is taken until it is freed', async () => {
    const { authority, chief } = await setup();
    await addDevice(authority, 't-1');
    expect((await chief.call('POST', '/clients/t-1/free', {})).status).toBe(404);
    const deleted = await chief.call('DELETE', '/devices/t-1');
    expect([deleted.status, deleted.body]).toEqual([204, '']);
    expect((await chief.call('GET', '/devices/t-1')).status).toBe(404);
    expect((await chief.call('POST', '/devices', { client_id: 't-1' })).status).toBe(409);
    expect((await chief.call('POST', '/clients/t-1/free', {})).status).toBe(204);
    const again = await chief.call('POST', '/devices', { client_id: 't-1' });
    expect([again.status, members(again.body).tokens_not_before]).toEqual([
      201,
      authority.clock.now() + 1,
    ]);
  });

  test('have their tokens voided until now, to the second, or until an instant before', async () => {
    const { authority, chief } = await setup();
    await addDevice(authority, 't-1');
    const now = authority.clock.now();
    const call = (body: object) => chief.call('POST', '/clients/t-1/void-tokens', body);
    expect((await call({ before: now + 2 })).status).toBe(400);
    expect((await call({ before: 0 })).status).toBe(400);
    expect((await call({ before: now - 100 })).body).toMatchObject({
      tokens_not_before: now - 100,
    });
    expect((await call({})).body).toMatchObject({ tokens_not_before: now + 1 });
    expect((await call({ before: now })).body).toMatchObject({ tokens_not_before: now + 1 });
  });
});

describe('keys', () => {
  test('are added in any form, listed and removed', async () => {
    const { authority, chief } = await setup();
    const { key } = await addDevice(authority, 't-1');
    const now = authority.clock.now();
    const { x } = jwk();
    const hex = Buffer.from(x, 'base64url').toString('hex');
    const added = await chief.call('POST', '/clients/t-1/keys', {
      ...{ public_key: hex, label: 'spare', not_before: now + 5, expires_at: now + 6 },
    });
    expect(added.status).toBe(201);
    const { body } = await chief.call('GET', '/clients/t-1/keys');
    const items = (body as { items: { kid: string; public_key: object }[] }).items;
    const spare = items.find(({ kid }) => kid !== key.publicKey.kid);
    expect(spare).toMatchObject({
      ...{ label: 'spare', not_before: now + 5, expires_at: now + 6, created_at: now },
      public_key: { kty: 'OKP', crv: 'Ed25519', x },
    });
    const first = await chief.call('DELETE', `/clients/t-1/keys/${key.publicKey.kid}`);
    expect(first.status).toBe(200);
    const last = await chief.call('DELETE', `/clients/t-1/keys/${spare?.kid}`);
    expect([last.status, fieldsOf(last.body)]).toEqual([409, ['kid']]);
    const forced = await chief.call('DELETE', `/clients/t-1/keys/${spare?.kid}?force=true`);
    expect(forced.body).toMatchObject({ keys: [], version: 4 });
  });

  test.each([
    { name: 'no key', body: {}, status: 400, field: 'public_key' },
    { name: 'a short text', body: { public_key: 'abc' }, status: 400, field: 'public_key' },
    {
      name: 'a private key as text',
      body: { public_key: '-----BEGIN PRIVATE KEY-----' },
      status: 400,
      field: 'public_key',
    },
    {
      name: 'a weak key',
      body: { public_key: '01'.padEnd(64, '0') },
      status: 400,
      field: 'public_key',
    },
    {
      name: 'control characters in its label',
      body: { public_key: jwk(), label: 'a\nb' },
      status: 400,
      field: 'label',
    },
    {
      name: 'an expiry of now',
      body: { public_key: jwk(), expires_at: 0 },
      status: 400,
      field: 'expires_at',
    },
  ])('refuse $name', async ({ body, status, field }) => {
    const { authority, chief } = await setup();
    await addDevice(authority, 't-1');
    const before = authority.dump();
    const now = authority.clock.now();
    const sent = 'expires_at' in body ? { ...body, expires_at: now } : body;
    const answer = await chief.call('POST', '/clients/t-1/keys', sent);
    expect([answer.status, fieldsOf(answer.body)]).toEqual([status, [field]]);
    expect(authority.dump()).toBe(before);
  });

  test('of another client cannot be added or rotated in', async () => {
    const { authority, chief } = await setup();
    const { key } = await addDevice(authority, 't-1');
    await addDevice(authority, 't-2');
    for (const path of ['keys', 'keys/rotation/start']) {
      const body = { public_key: key.publicKey.jwk };
      const answer = await chief.call('POST', `/clients/t-2/${path}`, body);
      expect([answer.status, fieldsOf(answer.body)]).toEqual([409, ['public_key']]);
    }
  });

  test('are replaced in three calls, and both get tokens meanwhile', async () => {
    const { authority, chief } = await setup();
    const old = await addDevice(authority, 't-1');
    const added = generateKey();
    const started = await chief.call('POST', '/clients/t-1/keys/rotation/start', {
      public_key: added.publicKey.jwk,
    });
    expect(started.body).toMatchObject({
      key_rotation: { old_kid: old.key.publicKey.kid, new_kid: added.publicKey.kid },
    });
    const renewed = createTestDevice(authority, 't-1', added);
    const statuses = async () => [
      (await authority.token(await old.assertion())).status,
      (await authority.token(await renewed.assertion())).status,
    ];
    expect(await statuses()).toEqual([200, 200]);
    const finished = await chief.call('POST', '/clients/t-1/keys/rotation/finish', {});
    expect(finished.body).toMatchObject({ key_rotation: null });
    expect(await statuses()).toEqual([400, 200]);
    for (const ending of ['finish', 'cancel']) {
      const { status } = await chief.call('POST', `/clients/t-1/keys/rotation/${ending}`, {});
      expect(status).toBe(409);
    }
  });
});

describe('secrets', () => {
  test('are shown once and never again, and stored as hashes', async () => {
    const { authority, chief } = await setup();
    await chief.call('POST', '/services', { client_id: 's-1' });
    const made = await chief.call('POST', '/clients/s-1/secrets', {
      ...{ label: 'staging', expires_in_seconds: 60 },
    });
    const { client_secret: secret, ...shown } = members(made.body) as Record<string, unknown>;
    expect(made.status).toBe(201);
    expect(secret).toMatch(/^lks_[A-Za-z0-9_-]{43}$/);
    const text = String(secret);
    expect(shown).toEqual({
      ...{ id: 1, prefix: text.slice(0, 8), last_four: text.slice(-4), label: 'staging' },
      ...{ created_at: authority.clock.now(), expires_at: authority.clock.now() + 60 },
    });
    const { body } = await chief.call('GET', '/clients/s-1/secrets');
    expect(body).toEqual({ items: [shown] });
    expect((await chief.call('GET', '/services/s-1')).body).toMatchObject({ secrets: [shown] });
    expect(authority.dump()).not.toContain(text);
    expect(authority.log.text()).not.toContain(text);
    const removed = await chief.call('DELETE', '/clients/s-1/secrets/1');
    expect(removed.body).toMatchObject({ secrets: [] });
  });

  test.each([
    { name: 'of a device', id: 't-1', body: {}, status: 409, field: 'client_id' },
    { name: 'of 59 s', id: 's-1', body: { expires_in_seconds: 59 }, status: 400 },
    {
      name: 'of more than ten years',
      id: 's-1',
      body: { expires_in_seconds: 315_360_001 },
      status: 400,
    },
    { name: 'with a secret of its own', id: 's-1', body: { secret: 'x' }, status: 400 },
    { name: 'of nobody', id: 'nope', body: {}, status: 404 },
  ])('refuse one $name', async ({ id, body, status }) => {
    const { authority, chief } = await setup();
    await addDevice(authority, 't-1');
    await chief.call('POST', '/services', { client_id: 's-1' });
    const before = authority.dump();
    expect((await chief.call('POST', `/clients/${id}/secrets`, body)).status).toBe(status);
    expect(authority.dump()).toBe(before);
  });

  test('are replaced in three calls', async () => {
    const { authority, chief } = await setup();
    await chief.call('POST', '/services', { client_id: 's-1' });
    const path = '/clients/s-1/secrets';
    expect((await chief.call('POST', `${path}/rotation/start`, {})).status).toBe(409);
    const secretOf = (body: unknown) => String(members(body).client_secret);
    const old = secretOf((await chief.call('POST', path, {})).body);
    const started = await chief.call('POST', `${path}/rotation/start`, {});
    expect(started.status).toBe(201);
    const added = secretOf(started.body);
    const { id } = (await authority.registry.client('s-1' as never))!;
    const good = () =>
      Promise.all([old, added].map((secret) => authority.registry.verifySecret(id, secret)));
    expect(await good()).toEqual([true, true]);
    expect((await chief.call('DELETE', `${path}/1`)).status).toBe(409);
    await chief.call('POST', `${path}/rotation/cancel`, {});
    expect(await good()).toEqual([true, false]);
  });
});

describe('the catalog', () => {
  test.each([
    [`/resources/${encodeURIComponent(BROKER)}`, 'identifier is in use by the permission commands'],
    ['/permissions/telemetry', 'name is in use by the role thermostat'],
    ['/roles/thermostat', 'name is in use by the client t-1'],
  ] as const)('what is in use is not deleted: %s', async (path, detail) => {
    const { authority, chief } = await setup();
    await addDevice(authority, 't-1');
    const answer = await chief.call('DELETE', path);
    expect(answer).toMatchObject({ status: 409, body: { detail } });
  });

  test('what is not in use is', async () => {
    const { chief } = await setup();
    const paths = ['/roles/thermostat', '/permissions/telemetry', '/permissions/commands'];
    for (const path of [...paths, `/resources/${encodeURIComponent(BROKER)}`]) {
      const { headers } = await chief.call('GET', path);
      const deletion = await chief.call('DELETE', path, undefined, { 'if-match': '"2"' });
      expect(deletion.status).toBe(412);
      const etag = { 'if-match': String(headers.etag) };
      expect((await chief.call('DELETE', path, undefined, etag)).status).toBe(204);
      expect((await chief.call('GET', path)).status).toBe(404);
    }
  });

  test('a permission that clients then lack a label for is not changed', async () => {
    const { authority, chief } = await setup();
    await addDevice(authority, 't-1');
    const answer = await chief.call('PATCH', '/permissions/telemetry', {
      scopes: ['pub:{labels.site}/x'],
    });
    expect(answer).toMatchObject({
      status: 409,
      body: {
        detail:
          'scopes would make the role thermostat need the label site, which the client t-1 lacks',
      },
    });
  });
});

describe('enrollment codes', () => {
  test('are worthless once revoked; devices that used one stay', async () => {
    const { authority, chief } = await setup();
    const code = await addCode(authority, { uses: 2 });
    const first = createTestDevice(authority, 'e-1');
    const request = await enrollmentRequest(authority, first, code);
    expect((await authority.enroll(request)).status).toBe(201);
    const revoked = await chief.call('POST', '/enrollments/1/revoke', {});
    expect(revoked.body).toMatchObject({ revoked_at: authority.clock.now(), uses_left: 1 });
    const second = await enrollmentRequest(authority, createTestDevice(authority, 'e-2'), code);
    expect(await authority.enroll(second)).toMatchObject({
      status: 400,
      body: { error: 'invalid_grant' },
    });
    expect((await authority.token(await first.assertion())).status).toBe(200);
    // The device that lost its answer may ask again, as it could before.
    const again = await enrollmentRequest(authority, first, code);
    expect((await authority.enroll(again)).status).toBe(201);
  });
});

test.each([
  ['GET', '/clients/a%2Fb', 404],
  ['POST', '/clients/nope/suspend', 404],
  ['POST', '/clients/nope/keys/rotation/finish', 404],
  ['DELETE', '/clients/nope/keys/x', 404],
  ['DELETE', '/clients/operator/secrets/0', 404],
  ['POST', '/enrollments/x/revoke', 404],
  ['PATCH', '/roles/%2F', 404],
  ['PUT', '/clients/operator', 404],
] as const)('%s %s is %i', async (method, path, status) => {
  const { chief } = await setup();
  const body = method === 'DELETE' || method === 'GET' ? undefined : { permissions: ['all'] };
  const sent = method === 'POST' ? {} : body;
  expect((await chief.call(method as Method, path, sent)).status).toBe(status);
});
