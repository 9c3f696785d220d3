/** `POST /token`: what is granted, and each refusal with its whole body. */
import {
  generateKey,
  importPublicJwk,
  JWT_BEARER_GRANT,
  MAX_JWT_BYTES,
  parseClientId,
  parseResourceId,
  verifyAccessToken,
} from '@latchkey/shared';
import { describe, expect, test } from 'vitest';
import { signedJwt } from '../../helpers/jwts.ts';
import {
  addDevice,
  addThermostatRole,
  BROKER,
  createTestDevice,
  execSql,
  openTestAuthority,
  type TestAuthority,
  type TestDevice,
} from '../../helpers/test-authority.ts';

async function setup(): Promise<{ authority: TestAuthority; device: TestDevice }> {
  const authority = await openTestAuthority();
  await addThermostatRole(authority);
  return { authority, device: await addDevice(authority) };
}

/** The scope of all that a thermostat has. */
const ALL =
  'sub;qos=1:devices/t-42/commands/+ sub:devices/t-42/config pub:devices/t-42/telemetry/#';
const NOT_VALID = {
  error: 'invalid_grant',
  error_description: 'the assertion is not valid',
};

describe('a granted token', () => {
  test('is an access token of this authority for the one resource where the client has rights', async () => {
    const { authority, device } = await setup();
    const { status, headers, body } = await authority.token(await device.assertion());
    expect(status).toBe(200);
    expect(headers['cache-control']).toBe('no-store');
    expect(body).toEqual({
      access_token: expect.any(String),
      token_type: 'Bearer',
      expires_in: 600,
      scope: ALL,
    });
    const { keys } = (await authority.authority.app.inject('/jwks')).json();
    const key = {
      kty: 'OKP',
      crv: 'Ed25519',
      x: expect.any(String),
      kid: expect.any(String),
      use: 'sig',
      alg: 'EdDSA',
    };
    // The active key, and the next one.
    expect(keys).toEqual([key, key]);
    const verified = await verifyAccessToken((body as { access_token: string }).access_token, {
      issuer: authority.issuer,
      audience: parseResourceId(BROKER),
      now: authority.clock.now(),
      findKey: (kid) => {
        const jwk = keys.find((one: { kid: string }) => one.kid === kid);
        return importPublicJwk(jwk);
      },
    });
    expect(verified).toMatchObject({
      clientId: 't-42',
      issuedAt: authority.clock.now(),
      expiresAt: authority.clock.now() + 600,
    });
    expect(authority.log.all('token.issued').at(-1)).toEqual({
      event: 'token.issued',
      clientId: 't-42',
      kid: device.key.publicKey.kid,
      jti: verified.jti,
      resource: BROKER,
      scope: ALL,
      expiresAt: verified.expiresAt,
    });
  });

  test.each([
    { name: 'nothing asked', scope: undefined, granted: ALL },
    { name: 'an empty parameter counts as absent', scope: '', granted: ALL },
    { name: 'a permission by name', scope: 'telemetry', granted: 'pub:devices/t-42/telemetry/#' },
    {
      name: 'a permission of several scopes',
      scope: 'commands',
      granted: 'sub;qos=1:devices/t-42/commands/+ sub:devices/t-42/config',
    },
    {
      name: 'a narrower topic scope',
      scope: 'pub;qos=1;retain=0:devices/t-42/telemetry/temperature',
      granted: 'pub;qos=1;retain=0:devices/t-42/telemetry/temperature',
    },
    {
      name: 'the same QoS as granted',
      scope: 'sub;qos=1:devices/t-42/commands/+',
      granted: 'sub;qos=1:devices/t-42/commands/+',
    },
    {
      name: 'a narrower scope and a permission, each once',
      scope: 'pub:devices/t-42/telemetry/# telemetry telemetry sub:devices/t-42/config',
      granted: 'pub:devices/t-42/telemetry/# sub:devices/t-42/config',
    },
  ])('$name', async ({ scope, granted }) => {
    const { authority, device } = await setup();
    const answer = await authority.token(
      await device.assertion(),
      scope === undefined ? {} : { scope },
    );
    expect(answer).toMatchObject({ status: 200, body: { scope: granted } });
  });

  test('tells a client that may mint, and no other one, that it may', async () => {
    const { authority, device } = await setup();
    const answer = await authority.token(await device.assertion());
    expect(answer.body).not.toHaveProperty('may_mint');
    const minter = await addDevice(authority, 't-43', { may_mint: true });
    const { body } = await authority.token(await minter.assertion());
    expect(body).toMatchObject({ may_mint: true });
    await authority.registry.patchClient(parseClientId('t-43'), { mayMint: false });
    const after = await authority.token(await minter.assertion());
    expect(after.body).not.toHaveProperty('may_mint');
  });

  test('for a plain scope of an HTTP resource carries its name', async () => {
    const { authority, device } = await setup();
    const resource = 'https://orders.example';
    await authority.api('POST', '/resources', { identifier: resource, kind: 'http' });
    await authority.api('POST', '/permissions', { name: 'orders:read', resource });
    await authority.api('POST', '/roles', { name: 'buyer', permissions: ['orders:read'] });
    await addDevice(authority, 'till-1', { roles: ['buyer', 'thermostat'] });
    const till = await addDevice(authority, 'till-2', { roles: ['buyer', 'thermostat'] });
    const both = await authority.token(await till.assertion());
    expect(both.body).toEqual({
      error: 'invalid_target',
      error_description: 'resource is required: the client has rights at several resources',
    });
    const answer = await authority.token(await till.assertion(), { resource });
    expect(answer).toMatchObject({ status: 200, body: { scope: 'orders:read', expires_in: 900 } });
    const elsewhere = await authority.token(await device.assertion(), { resource });
    expect(elsewhere.body).toMatchObject({ error: 'invalid_target' });
  });

  test('leaves out a permission whose label was lost, and says so when it is asked for by name', async () => {
    const { authority } = await setup();
    await authority.api('POST', '/permissions', {
      name: 'site',
      resource: BROKER,
      scopes: ['pub:sites/{labels.site}/+'],
    });
    await authority.api('POST', '/roles', { name: 'sited', permissions: ['site', 'telemetry'] });
    const options = { roles: ['sited'], labels: { site: 'berlin' } };
    const device = await addDevice(authority, 's-1', options);
    const before = await authority.token(await device.assertion());
    expect(before.body).toMatchObject({
      scope: 'pub:sites/berlin/+ pub:devices/s-1/telemetry/#',
    });
    execSql(authority, "DELETE FROM client_label WHERE client = 's-1'");
    const after = await authority.token(await device.assertion());
    expect(after.body).toMatchObject({ scope: 'pub:devices/s-1/telemetry/#' });
    expect((await authority.token(await device.assertion(), { scope: 'site' })).body).toEqual({
      error: 'invalid_scope',
      error_description: 'scope names the permission site, which needs the label site',
    });
  });

  test('is never longer than what verifiers read', async () => {
    const { authority } = await setup();
    const scopes = Array.from({ length: 64 }, (_, i) => `pub:long/${'x'.repeat(120)}/${i}`);
    await authority.api('POST', '/permissions', { name: 'long', resource: BROKER, scopes });
    await authority.api('POST', '/roles', { name: 'long', permissions: ['long'] });
    const device = await addDevice(authority, 'l-1', { roles: ['long'] });
    const answer = await authority.token(await device.assertion());
    expect(answer).toMatchObject({
      status: 400,
      body: {
        error: 'invalid_scope',
        error_description: 'the scope is too long for one token: ask for a part of it',
      },
    });
    const part = await authority.token(await device.assertion(), { scope: scopes[0] as string });
    expect(part.status).toBe(200);
    expect((part.body as { access_token: string }).access_token.length).toBeLessThan(MAX_JWT_BYTES);
  });
});

const grant: readonly [string, string] = ['grant_type', JWT_BEARER_GRANT];

describe('a malformed request', () => {
  test.each([
    {
      name: 'no grant_type',
      pairs: [['assertion', 'x']],
      body: { error: 'invalid_request', error_description: 'grant_type is missing' },
    },
    {
      name: 'an empty grant_type',
      pairs: [
        ['grant_type', ''],
        ['assertion', 'x'],
      ],
      body: { error: 'invalid_request', error_description: 'grant_type is missing' },
    },
    {
      name: 'another grant_type',
      pairs: [['grant_type', 'password']],
      body: {
        error: 'unsupported_grant_type',
        error_description: `grant_type must be one of: ${JWT_BEARER_GRANT} client_credentials`,
      },
    },
    {
      name: 'no assertion',
      pairs: [grant],
      body: { error: 'invalid_request', error_description: 'assertion is missing' },
    },
    {
      name: 'a repeated parameter',
      pairs: [grant, ['assertion', 'x'], ['scope', 'a'], ['scope', 'b']],
      body: { error: 'invalid_request', error_description: 'scope is repeated' },
    },
    {
      name: 'a repeated parameter, both empty',
      pairs: [grant, ['assertion', 'x'], ['resource', ''], ['resource', '']],
      body: { error: 'invalid_request', error_description: 'resource is repeated' },
    },
    {
      name: 'a repeated parameter that nobody knows, with a hostile name',
      pairs: [grant, ['<b>', 'x'], ['<b>', 'x']],
      body: { error: 'invalid_request', error_description: 'a parameter is repeated' },
    },
    {
      name: 'an assertion for client authentication without its type',
      pairs: [grant, ['assertion', 'x'], ['client_assertion', 'y']],
      body: {
        error: 'invalid_request',
        error_description:
          'client_assertion_type must be urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      },
    },
    {
      name: 'a client secret without a client',
      pairs: [grant, ['assertion', 'x'], ['client_secret', 'y']],
      body: { error: 'invalid_request', error_description: 'client_id is missing' },
    },
    { name: 'an assertion that is no JWT', pairs: [grant, ['assertion', 'x']], body: NOT_VALID },
  ] as const)('$name', async ({ pairs, body }) => {
    const authority = await openTestAuthority();
    const before = authority.dump();
    const answer = await authority.form(pairs);
    expect(answer).toMatchObject({ status: 400, body });
    expect(answer.body).toEqual(body);
    expect(answer.headers).toMatchObject({
      'cache-control': 'no-store',
      'content-type': 'application/json; charset=utf-8',
      'x-content-type-options': 'nosniff',
    });
    expect(authority.dump()).toBe(before);
  });

  test.each([
    {
      name: 'a body of 16 KiB and one byte',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      payload: `a=${'x'.repeat(16_383)}`,
      status: 413,
      description: 'the body is too large',
    },
    {
      name: 'a body of 1 MB',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      payload: `a=${'x'.repeat(1_000_000)}`,
      status: 413,
      description: 'the body is too large',
    },
    {
      name: 'text',
      headers: { 'content-type': 'text/plain' },
      payload: 'grant_type=x',
      status: 415,
      description: 'the content type is not expected',
    },
    {
      name: 'no body',
      headers: {},
      payload: '',
      status: 400,
      description: 'the body is missing',
    },
  ])('$name', async ({ headers, payload, status, description }) => {
    const { authority } = await openTestAuthority();
    const response = await authority.app.inject({
      method: 'POST',
      url: '/token',
      headers,
      payload,
    });
    expect(response.statusCode).toBe(status);
    expect(response.json()).toEqual({
      error: 'invalid_request',
      error_description: description,
    });
  });

  test('a body of exactly 16 KiB is read', async () => {
    const { authority } = await openTestAuthority();
    const response = await authority.app.inject({
      method: 'POST',
      url: '/token',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      payload: `a=${'x'.repeat(16_382)}`,
    });
    expect(response.json()).toMatchObject({ error_description: 'grant_type is missing' });
  });

  test.each(['GET', 'PUT', 'DELETE', 'PATCH'] as const)('%s is not served', async (method) => {
    const { authority } = await openTestAuthority();
    const response = await authority.app.inject({ method, url: '/token' });
    expect(response.statusCode).toBe(404);
  });
});

describe('a refused assertion', () => {
  interface Attempt {
    readonly authority: TestAuthority;
    readonly device: TestDevice;
  }

  /** Every one of these has the same answer, so that it tells a stranger nothing. */
  test.each([
    {
      name: 'unknown client',
      make: ({ authority }: Attempt) => createTestDevice(authority, 'nobody').assertion(),
    },
    {
      name: 'key of nobody',
      make: ({ authority, device }: Attempt) =>
        createTestDevice(authority, device.clientId).assertion(),
    },
    {
      name: 'key of another client, named by its kid',
      make: async ({ authority, device }: Attempt) => {
        const other = await addDevice(authority, 't-43');
        return createTestDevice(authority, device.clientId, other.key).assertion();
      },
    },
    {
      name: 'a client without a key',
      make: async ({ authority }: Attempt) => {
        await authority.api('POST', '/devices', { client_id: 'waiting' });
        return createTestDevice(authority, 'waiting').assertion();
      },
    },
    {
      name: 'wrong audience: the token endpoint',
      make: ({ device, authority }: Attempt) =>
        device.assertion({ issuer: `${authority.issuer}/token` as never }),
    },
    {
      name: 'made for client authentication',
      make: ({ device }: Attempt) => device.assertion({ use: 'client-authentication' }),
    },
    {
      name: 'a jti that is too short',
      make: ({ device }: Attempt) => device.assertion({ jti: 'short' }),
    },
    {
      name: 'a changed last character of the signature',
      make: async ({ device }: Attempt) => {
        const good = await device.assertion();
        return good.slice(0, -1) + (good.endsWith('A') ? 'B' : 'A');
      },
    },
    {
      name: 'alg none',
      make: ({ device, authority }: Attempt) =>
        signedJwt(
          { alg: 'none', typ: 'device-assertion+jwt' },
          { iss: device.clientId, sub: device.clientId, aud: authority.issuer },
          device.key,
        ),
    },
    {
      name: 'kid as SQL',
      make: ({ device, authority }: Attempt) =>
        signedJwt(
          { alg: 'EdDSA', typ: 'device-assertion+jwt', kid: "' OR 1=1 --" },
          {
            iss: device.clientId,
            sub: device.clientId,
            aud: authority.issuer,
            iat: authority.clock.now(),
            exp: authority.clock.now() + 60,
            jti: '0123456789abcdef',
          },
          device.key,
        ),
    },
    {
      name: 'an access token of this authority',
      make: async ({ authority, device }: Attempt) => {
        const { body } = await authority.token(await device.assertion());
        return (body as { access_token: string }).access_token;
      },
    },
    {
      name: 'replay',
      make: async ({ authority, device }: Attempt) => {
        const assertion = await device.assertion();
        expect((await authority.token(assertion)).status).toBe(200);
        return assertion;
      },
    },
    {
      name: 'suspended client',
      make: ({ authority, device }: Attempt) => {
        execSql(
          authority,
          `UPDATE client SET status = 'suspended' WHERE id = '${device.clientId}'`,
        );
        return device.assertion();
      },
    },
    {
      name: 'revoked client',
      make: ({ authority, device }: Attempt) => {
        execSql(authority, `UPDATE client SET status = 'revoked' WHERE id = '${device.clientId}'`);
        return device.assertion();
      },
    },
  ])('$name', async ({ make }) => {
    const attempt = await setup();
    const assertion = await make(attempt);
    const before = attempt.authority.dump();
    const answer = await attempt.authority.token(assertion);
    expect(answer.status).toBe(400);
    expect(answer.body).toEqual(NOT_VALID);
    expect(attempt.authority.dump()).toBe(before);
    expect(attempt.authority.log.all('token.refused').at(-1)).toMatchObject({
      error: 'invalid_grant',
      detail: expect.any(String),
    });
  });

  test('of a suspended client is not even spent', async () => {
    const { authority, device } = await setup();
    const assertion = await device.assertion();
    execSql(authority, "UPDATE client SET status = 'suspended' WHERE id = 't-42'");
    expect((await authority.token(assertion)).body).toEqual(NOT_VALID);
    execSql(authority, "UPDATE client SET status = 'active' WHERE id = 't-42'");
    expect((await authority.token(assertion)).status).toBe(200);
  });

  test.each([
    { name: 'not yet valid', column: 'not_before', offset: 1, status: 400 },
    { name: 'valid from now on', column: 'not_before', offset: 0, status: 200 },
    { name: 'expired now', column: 'expires_at', offset: 0, status: 400 },
    { name: 'in its last second', column: 'expires_at', offset: 1, status: 200 },
  ])('a key that is $name: $status', async ({ column, offset, status }) => {
    const { authority, device } = await setup();
    const at = authority.clock.now() + offset;
    execSql(authority, `UPDATE client_key SET ${column} = ${at} WHERE client = 't-42'`);
    expect((await authority.token(await device.assertion())).status).toBe(status);
  });

  test.each([
    { name: 'behind, at the edge', offset: -179, status: 200, says: undefined },
    { name: 'behind', offset: -180, status: 400, says: 'by about 180 s (it is behind)' },
    { name: 'ahead, at the edge', offset: 120, status: 200, says: undefined },
    { name: 'ahead', offset: 121, status: 400, says: 'by about 121 s (it is ahead)' },
  ])('the holder of the key learns that its clock is $name', async ({ offset, status, says }) => {
    const { authority, device } = await setup();
    const answer = await authority.token(
      await device.assertion({ now: authority.clock.now() + offset }),
    );
    expect(answer.status).toBe(status);
    if (says === undefined) return;
    expect(answer.body).toEqual({
      error: 'invalid_grant',
      error_description: `the client's clock differs ${says}`,
    });
  });

  test('nobody else learns it', async () => {
    const { authority, device } = await setup();
    const stranger = createTestDevice(authority, device.clientId, generateKey());
    const answer = await authority.token(
      await stranger.assertion({ now: authority.clock.now() - 900 }),
    );
    expect(answer.body).toEqual(NOT_VALID);
  });

  test('client_id must name the client of the assertion when it is there', async () => {
    const { authority, device } = await setup();
    const other = await authority.token(await device.assertion(), { client_id: 't-43' });
    expect(other.body).toEqual(NOT_VALID);
    const same = await authority.token(await device.assertion(), { client_id: 't-42' });
    expect(same.status).toBe(200);
  });
});

describe('resource and scope', () => {
  test.each([
    {
      name: 'unknown resource',
      more: { resource: 'mqtts://other.example' },
      body: {
        error: 'invalid_target',
        error_description: 'the client has no rights at this resource',
      },
    },
    {
      name: 'a known resource where it has nothing: the management API',
      more: { resource: 'https://id.example/api' },
      body: {
        error: 'invalid_target',
        error_description: 'the client has no rights at this resource',
      },
    },
    {
      name: 'not a URI',
      more: { resource: 'broker' },
      body: {
        error: 'invalid_target',
        error_description: 'the client has no rights at this resource',
      },
    },
    {
      name: 'another device',
      more: { scope: 'pub:devices/t-43/telemetry/#' },
      body: {
        error: 'invalid_scope',
        error_description: "scope is wider than the client's rights: pub:devices/t-43/telemetry/#",
      },
    },
    {
      name: 'a wider filter',
      more: { scope: 'pub:devices/+/telemetry/#' },
      body: {
        error: 'invalid_scope',
        error_description: "scope is wider than the client's rights: pub:devices/+/telemetry/#",
      },
    },
    {
      name: 'the parent level of #, which # covers, is not published by another right',
      more: { scope: 'pub:devices/t-42/#' },
      body: {
        error: 'invalid_scope',
        error_description: "scope is wider than the client's rights: pub:devices/t-42/#",
      },
    },
    {
      name: 'the other action',
      more: { scope: 'sub:devices/t-42/telemetry/#' },
      body: {
        error: 'invalid_scope',
        error_description: "scope is wider than the client's rights: sub:devices/t-42/telemetry/#",
      },
    },
    {
      name: 'a higher QoS',
      more: { scope: 'sub;qos=2:devices/t-42/commands/+' },
      body: {
        error: 'invalid_scope',
        error_description: "scope is wider than the client's rights: sub:devices/t-42/commands/+",
      },
    },
    {
      name: 'one good value beside one that is not covered',
      more: { scope: 'telemetry admin' },
      body: {
        error: 'invalid_scope',
        error_description: 'scope names a permission or scope that the client does not have',
      },
    },
    {
      name: 'a role is not a permission',
      more: { scope: 'thermostat' },
      body: {
        error: 'invalid_scope',
        error_description: 'scope names a permission or scope that the client does not have',
      },
    },
  ])('$name', async ({ more, body }) => {
    const { authority, device } = await setup();
    const answer = await authority.token(await device.assertion(), more);
    expect(answer).toMatchObject({ status: 400 });
    expect(answer.body).toEqual(body);
  });

  test.each([
    { name: 'two spaces', scope: 'telemetry  commands' },
    { name: 'an unknown action', scope: 'PUB:devices/t-42/telemetry/#' },
    { name: 'an unknown option', scope: 'pub;ttl=1:devices/t-42/telemetry/#' },
    { name: 'a malformed filter', scope: 'pub:devices/#/t-42' },
    { name: 'a shared subscription', scope: 'sub:$share/g/devices/t-42/config' },
    { name: 'a control character', scope: 'pub:devices/t-42/telemetry/%00' },
    { name: '1,025 values', scope: Array(1025).fill('a').join(' ') },
  ])('$name makes the whole scope invalid', async ({ scope }) => {
    const { authority, device } = await setup();
    const answer = await authority.token(await device.assertion(), { scope });
    expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_scope' } });
  });

  test('a client without any rights gets invalid_target', async () => {
    const { authority } = await setup();
    const device = await addDevice(authority, 'bare', { roles: [] });
    expect((await authority.token(await device.assertion())).body).toEqual({
      error: 'invalid_target',
      error_description: 'the client has no rights at this resource',
    });
  });
});
