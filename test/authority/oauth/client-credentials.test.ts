/** The client_credentials grant: for services and devices, by every way to authenticate. */
import { describe, expect, test } from 'vitest';
import { addService, CLIENT_ASSERTION_TYPE, post, postJson } from '../../helpers/oauth-requests.ts';
import {
  addDevice,
  addThermostatRole,
  BROKER,
  execSql,
  openTestAuthority,
} from '../../helpers/test-authority.ts';

const grant = { grant_type: 'client_credentials' };
const ORDERS = 'https://orders.example';

/** A service with one right at an HTTP resource and one at a broker. */
async function setup() {
  const authority = await openTestAuthority();
  await addThermostatRole(authority);
  await authority.api('POST', '/resources', { identifier: ORDERS, kind: 'http' });
  await authority.api('POST', '/permissions', { name: 'orders:read', resource: ORDERS });
  await authority.api('POST', '/roles', { name: 'buyer', permissions: ['orders:read'] });
  const service = await addService(authority, 'shop', { roles: ['buyer'] });
  return { authority, service };
}

const GRANTED = {
  access_token: expect.any(String),
  token_type: 'Bearer',
  expires_in: 900,
  scope: 'orders:read',
};

const claimsOf = (token: unknown) =>
  JSON.parse(Buffer.from(String(token).split('.')[1] ?? '', 'base64url').toString());

describe('a service gets a token', () => {
  test('with client_secret_basic', async () => {
    const { authority, service } = await setup();
    const { status, body, headers } = await post(authority, '/token', grant, service.basic);
    expect({ status, body }).toEqual({ status: 200, body: GRANTED });
    expect(headers['cache-control']).toBe('no-store');
    expect(claimsOf(body.access_token)).toMatchObject({
      iss: authority.issuer,
      sub: 'shop',
      client_id: 'shop',
      aud: ORDERS,
      scope: 'orders:read',
    });
    expect(authority.log.all('token.issued').at(-1)).toMatchObject({
      clientId: 'shop',
      kid: undefined,
      resource: ORDERS,
    });
  });

  test('with client_secret_post', async () => {
    const { authority, service } = await setup();
    const credentials = { client_id: 'shop', client_secret: service.secret };
    const { status, body } = await post(authority, '/token', { ...grant, ...credentials });
    expect({ status, body }).toEqual({ status: 200, body: GRANTED });
  });

  test('with private_key_jwt, and the log names the key', async () => {
    const { authority, service } = await setup();
    const credentials = await service.assertion();
    const { status, body } = await post(authority, '/token', { ...grant, ...credentials });
    expect({ status, body }).toEqual({ status: 200, body: GRANTED });
    expect(authority.log.all('token.issued').at(-1)).toMatchObject({
      kid: service.key.publicKey.kid,
    });
  });

  test.each([
    { name: 'audience', more: { audience: ORDERS } },
    { name: 'resource', more: { resource: ORDERS } },
    { name: 'both, the same', more: { resource: ORDERS, audience: ORDERS } },
    { name: 'empty members', more: { resource: '', scope: '' } },
  ])('with a JSON body and $name', async ({ more }) => {
    const { authority, service } = await setup();
    const credentials = { client_id: 'shop', client_secret: service.secret };
    const answer = await postJson(authority, '/token', { ...grant, ...credentials, ...more });
    expect(answer).toMatchObject({ status: 200, body: GRANTED });
  });

  test('of the scope that it asks for, and no more', async () => {
    const { authority, service } = await setup();
    const ask = (scope: string) => post(authority, '/token', { ...grant, scope }, service.basic);
    expect(await ask('orders:read')).toMatchObject({ status: 200, body: GRANTED });
    expect(await ask('orders:write')).toMatchObject({
      status: 400,
      body: { error: 'invalid_scope' },
    });
    expect(await ask('all')).toMatchObject({ status: 400, body: { error: 'invalid_scope' } });
  });

  test('only for resources where it has rights', async () => {
    const { authority, service } = await setup();
    for (const resource of [BROKER, `${authority.issuer}/api`, 'https://nowhere.example']) {
      const answer = await post(authority, '/token', { ...grant, resource }, service.basic);
      expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_target' } });
    }
  });
});

test('a device gets the token that it would get with the jwt-bearer grant', async () => {
  const { authority } = await setup();
  const device = await addDevice(authority);
  const other = await device.assertion();
  const assertion = await device.assertion({ use: 'client-authentication' });
  const direct = await authority.token(other);
  const answer = await post(authority, '/token', {
    ...grant,
    client_assertion_type: CLIENT_ASSERTION_TYPE,
    client_assertion: assertion,
  });
  const { access_token: _, ...rest } = direct.body as Record<string, unknown>;
  expect(answer).toMatchObject({ status: 200, body: rest });
});

describe('the lifetime is the shorter one', () => {
  test.each([
    { client: null, expected: 900 },
    { client: 120, expected: 120 },
    { client: 900, expected: 900 },
    { client: 3600, expected: 900 },
  ])('of the resource (900 s) and the client ($client s)', async ({ client, expected }) => {
    const { authority, service } = await setup();
    await authority.registry.patchClient(service.clientId, { tokenTtlSeconds: client });
    const { body } = await post(authority, '/token', grant, service.basic);
    expect(body.expires_in).toBe(expected);
    const { iat, exp } = claimsOf(body.access_token);
    expect(exp - iat).toBe(expected);
  });
});

describe('what the resource says of its tokens', () => {
  const option = (sql: string) => `UPDATE resource SET ${sql} WHERE identifier = '${ORDERS}'`;

  test.each([
    { legacy: 0, claims: { scp: undefined, cid: undefined } },
    { legacy: 1, claims: { scp: ['orders:read'], cid: 'shop' } },
  ])('legacy claims $legacy', async ({ legacy, claims }) => {
    const { authority, service } = await setup();
    execSql(authority, option(`has_legacy_claims = ${legacy}`));
    const { body } = await post(authority, '/token', grant, service.basic);
    const { scp, cid, client_id, scope } = claimsOf(body.access_token);
    expect({ scp, cid }).toEqual(claims);
    expect({ client_id, scope }).toEqual({ client_id: 'shop', scope: 'orders:read' });
  });

  test.each(['EdDSA', 'Ed25519', 'ES256', 'RS256'])('signed with %s', async (alg) => {
    const { authority, service } = await setup();
    execSql(authority, option(`signing_alg = '${alg}'`));
    const { body } = await post(authority, '/token', grant, service.basic);
    const header = JSON.parse(
      Buffer.from(String(body.access_token).split('.')[0] ?? '', 'base64url').toString(),
    );
    expect(header).toMatchObject({ alg, typ: 'at+jwt' });
    const { keys } = (await authority.authority.app.inject('/jwks')).json();
    expect(keys).toContainEqual(expect.objectContaining({ kid: header.kid, alg, use: 'sig' }));
  });

  test('a scope that is too wide is narrowed, if anything is left of it', async () => {
    const { authority, service } = await setup();
    execSql(authority, option('narrows_scope = 1'));
    const ask = (scope: string) => post(authority, '/token', { ...grant, scope }, service.basic);
    expect(await ask('orders:read orders:write')).toMatchObject({
      status: 200,
      body: { scope: 'orders:read' },
    });
    expect(await ask('orders:write')).toMatchObject({
      status: 400,
      body: { error: 'invalid_scope' },
    });
    expect(await ask('orders:read  x')).toMatchObject({
      status: 400,
      body: { error: 'invalid_scope' },
    });
  });

  test('topic scopes are narrowed to what both sides have', async () => {
    const { authority } = await setup();
    execSql(authority, `UPDATE resource SET narrows_scope = 1 WHERE identifier = '${BROKER}'`);
    const device = await addDevice(authority);
    const answer = await authority.token(await device.assertion(), {
      scope: 'pubsub;qos=1:devices/# commands',
    });
    expect(answer).toMatchObject({
      status: 200,
      body: {
        scope:
          'sub;qos=1:devices/t-42/commands/+ sub;qos=1:devices/t-42/config pub;qos=1:devices/t-42/telemetry/# sub:devices/t-42/config',
      },
    });
  });
});

describe('refused:', () => {
  test('no client authentication', async () => {
    const { authority } = await setup();
    for (const more of [{}, { client_id: 'shop' }]) {
      const answer = await post(authority, '/token', { ...grant, ...more });
      expect(answer).toMatchObject({
        status: 401,
        body: {
          error: 'invalid_client',
          error_description: 'client authentication is required',
        },
      });
      expect(answer.headers['www-authenticate']).toMatch(/^Basic realm=/);
    }
  });

  test('resource and audience that differ', async () => {
    const { authority, service } = await setup();
    const more = { resource: ORDERS, audience: BROKER };
    for (const send of [post, postJson]) {
      expect(await send(authority, '/token', { ...grant, ...more }, service.basic)).toMatchObject({
        status: 400,
        body: {
          error: 'invalid_request',
          error_description: 'resource and audience differ, and mean the same',
        },
      });
    }
  });

  test.each([
    { name: 'no object', body: '[]', says: 'the body is not a JSON object' },
    { name: 'no JSON', body: '{"grant_type":', says: 'the body is not JSON in UTF-8' },
    { name: 'nothing in it', body: '{}', says: 'grant_type is missing' },
    {
      name: 'a member twice',
      body: '{"grant_type":"client_credentials","grant_type":"x"}',
      says: 'the body names a member twice',
    },
    {
      name: 'a member twice, escaped',
      body: '{"scope":"a","grant_type":"client_credentials","sc\\u006fpe":"b"}',
      says: 'the body names a member twice',
    },
    { name: 'scope as an array', body: '{"scope":["a"]}', says: 'scope must be a string' },
    { name: 'a number', body: '{"client_id":7}', says: 'client_id must be a string' },
    { name: 'null', body: '{"client_secret":null}', says: 'client_secret must be a string' },
    { name: '__proto__', body: '{"__proto__":{"a":1}}', says: '__proto__ must be a string' },
    { name: 'a hostile name', body: '{"<b>":1}', says: 'a parameter must be a string' },
  ])('a JSON body with $name', async ({ body, says }) => {
    const { authority } = await setup();
    expect(await postJson(authority, '/token', body)).toMatchObject({
      status: 400,
      body: { error: 'invalid_request', error_description: says },
    });
  });

  test('a JSON body over 16 KiB', async () => {
    const { authority } = await setup();
    const { status } = await postJson(authority, '/token', { scope: 'x'.repeat(16_384) });
    expect(status).toBe(413);
  });

  test('a client that is revoked between its authentication and the token', async () => {
    const { authority, service } = await setup();
    const { registry } = authority;
    const verifySecret = registry.verifySecret.bind(registry);
    Object.assign(registry, {
      verifySecret: async (...args: Parameters<typeof verifySecret>) => {
        const isGood = await verifySecret(...args);
        await registry.setClientStatus(service.clientId, 'revoked');
        return isGood;
      },
    });
    expect(await post(authority, '/token', grant, service.basic)).toMatchObject({
      status: 401,
      body: { error: 'invalid_client', error_description: 'client authentication failed' },
    });
  });
});

test('a token right after everything was voided is not void from its birth', async () => {
  const { authority, service } = await setup();
  const tokensNotBefore = authority.clock.now() + 1;
  await authority.registry.patchClient(service.clientId, { tokensNotBefore });
  const { body } = await post(authority, '/token', grant, service.basic);
  expect(claimsOf(body.access_token).iat).toBe(tokensNotBefore);
  expect(body.expires_in).toBe(901);
});
