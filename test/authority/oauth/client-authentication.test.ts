/** Client authentication, seen through the token endpoint: what is refused, and that strangers learn nothing. */
import { generateKey, JWT_BEARER_GRANT } from '@latchkey/shared';
import { describe, expect, test } from 'vitest';
import { signedJwt } from '../../helpers/jwts.ts';
import {
  addSecret,
  addService,
  basic,
  CLIENT_ASSERTION_TYPE,
  newSecret,
  type OAuthAnswer,
  post,
  postJson,
  type TestService,
} from '../../helpers/oauth-requests.ts';
import {
  addDevice,
  addThermostatRole,
  createTestDevice,
  openTestAuthority,
  type TestAuthority,
} from '../../helpers/test-authority.ts';

const grant = { grant_type: 'client_credentials' };
const FAILED = { error: 'invalid_client', error_description: 'client authentication failed' };

interface Attempt {
  readonly authority: TestAuthority;
  readonly service: TestService;
}

async function setup(): Promise<Attempt> {
  const authority = await openTestAuthority();
  await addThermostatRole(authority);
  return { authority, service: await addService(authority, 'shop', { roles: ['thermostat'] }) };
}

const askBasic = ({ authority }: Attempt, id: string, secret: string) =>
  post(authority, '/token', grant, basic(id, secret));
const askPost = ({ authority }: Attempt, id: string, secret: string) =>
  post(authority, '/token', { ...grant, client_id: id, client_secret: secret });
const askWith = ({ authority }: Attempt, more: Readonly<Record<string, string>>) =>
  post(authority, '/token', { ...grant, ...more });
const jwt = (assertion: string) => ({
  client_assertion_type: CLIENT_ASSERTION_TYPE,
  client_assertion: assertion,
});

/** Each of them, by whatever method, has this one answer: status, body and headers. */
describe('failed authentication has one answer:', () => {
  test.each<{ name: string; ask: (attempt: Attempt) => Promise<OAuthAnswer> }>([
    { name: 'unknown client, Basic', ask: (a) => askBasic(a, 'nobody', a.service.secret) },
    { name: 'unknown client, post', ask: (a) => askPost(a, 'nobody', a.service.secret) },
    { name: 'wrong secret, Basic', ask: (a) => askBasic(a, 'shop', newSecret()) },
    { name: 'wrong secret, post', ask: (a) => askPost(a, 'shop', newSecret()) },
    {
      name: 'wrong secret, in JSON',
      ask: (a) =>
        postJson(a.authority, '/token', {
          ...grant,
          client_id: 'shop',
          client_secret: newSecret(),
        }),
    },
    { name: 'empty secret, Basic', ask: (a) => askBasic(a, 'shop', '') },
    {
      name: 'a secret with a blank behind',
      ask: (a) => askPost(a, 'shop', `${a.service.secret} `),
    },
    {
      name: 'a secret without its prefix',
      ask: (a) => askPost(a, 'shop', a.service.secret.slice(4)),
    },
    {
      name: 'a secret in capitals',
      ask: (a) => askPost(a, 'shop', a.service.secret.toUpperCase()),
    },
    {
      name: 'the shown part of a secret',
      ask: (a) => askPost(a, 'shop', a.service.secret.slice(0, 8)),
    },
    { name: 'a secret of 10,000 characters', ask: (a) => askPost(a, 'shop', 'x'.repeat(10_000)) },
    {
      name: 'the secret of another client',
      ask: async (a) => askBasic(a, 'shop', (await addService(a.authority, 'other')).secret),
    },
    { name: 'an id that cannot be one', ask: (a) => askBasic(a, "' OR 1=1 --", a.service.secret) },
    {
      name: 'an id that cannot be one, with the secret of the client that stands in for it',
      ask: async (a) => askPost(a, 'a/b', (await addService(a.authority, '0')).secret),
    },
    { name: 'the id constructor', ask: (a) => askPost(a, 'constructor', a.service.secret) },
    {
      name: 'suspended client, secret',
      ask: async (a) => {
        await a.authority.registry.setClientStatus(a.service.clientId, 'suspended');
        return askBasic(a, 'shop', a.service.secret);
      },
    },
    {
      name: 'revoked client, secret',
      ask: async (a) => {
        await a.authority.registry.setClientStatus(a.service.clientId, 'revoked');
        return askPost(a, 'shop', a.service.secret);
      },
    },
    {
      name: 'deleted client, secret',
      ask: async (a) => {
        await a.authority.registry.deleteClient(a.service.clientId);
        return askPost(a, 'shop', a.service.secret);
      },
    },
    {
      name: 'expired secret',
      ask: async (a) => {
        const expiresAt = a.authority.clock.now() + 60;
        const secret = await addSecret(a.authority, a.service.clientId, expiresAt);
        a.authority.clock.set(expiresAt);
        return askPost(a, 'shop', secret);
      },
    },
    {
      name: 'unknown client, assertion',
      ask: async (a) =>
        askWith(
          a,
          jwt(
            await createTestDevice(a.authority, 'nobody').assertion({
              use: 'client-authentication',
            }),
          ),
        ),
    },
    {
      name: 'bad signature',
      ask: async (a) =>
        askWith(
          a,
          jwt(
            await createTestDevice(a.authority, 'shop', generateKey()).assertion({
              use: 'client-authentication',
            }),
          ),
        ),
    },
    {
      name: 'revoked client, assertion',
      ask: async (a) => {
        await a.authority.registry.setClientStatus(a.service.clientId, 'revoked');
        return askWith(a, await a.service.assertion());
      },
    },
    {
      name: 'a grant assertion',
      ask: async (a) => askWith(a, await a.service.assertion({ use: 'grant' })),
    },
    {
      name: 'an access token as client assertion',
      ask: async (a) => {
        const { body } = await askBasic(a, 'shop', a.service.secret);
        return askWith(a, jwt(String(body.access_token)));
      },
    },
    {
      name: 'an assertion for the token endpoint',
      ask: async (a) =>
        askWith(a, await a.service.assertion({ issuer: `${a.authority.issuer}/token` as never })),
    },
    {
      name: 'an assertion for another authority',
      ask: async (a) =>
        askWith(a, await a.service.assertion({ issuer: 'https://other.example' as never })),
    },
    {
      name: 'an assertion of another subject',
      ask: ({ authority, service }) =>
        post(authority, '/token', {
          ...grant,
          ...jwt(
            signedJwt(
              { alg: 'EdDSA', typ: 'client-authentication+jwt', kid: service.key.publicKey.kid },
              {
                iss: 'shop',
                sub: 'operator',
                aud: authority.issuer,
                iat: authority.clock.now(),
                exp: authority.clock.now() + 60,
                jti: '0123456789abcdef',
              },
              service.key,
            ),
          ),
        }),
    },
    {
      name: 'replay',
      ask: async (a) => {
        const credentials = await a.service.assertion();
        expect((await askWith(a, credentials)).status).toBe(200);
        return askWith(a, credentials);
      },
    },
    { name: 'text that is no JWT', ask: (a) => askWith(a, jwt('x')) },
    {
      name: 'client_id beside Basic names another client',
      ask: (a) => post(a.authority, '/token', { ...grant, client_id: 'operator' }, a.service.basic),
    },
    {
      name: 'client_id beside an assertion names another client',
      ask: async (a) => askWith(a, { ...(await a.service.assertion()), client_id: 'operator' }),
    },
    {
      name: 'good credentials in Basic with a wrong padding',
      ask: (a) =>
        post(a.authority, '/token', grant, {
          authorization: a.service.basic.authorization.slice(0, -1),
        }),
    },
    ...[
      'Basic',
      'Basic !',
      'Basic c2hvcA==', // no colon
      'Basic c2hvcDp4=', // wrong padding
      'Basic c2hvcDp4 c2hvcDp4',
      `Basic ${Buffer.from('shop:%zz').toString('base64')}`,
      `Basic ${Buffer.from('shop:\xff', 'latin1').toString('base64')}`,
      'Bearer x',
      'Digest x',
    ].map((authorization) => ({
      name: `Authorization: ${authorization}`,
      ask: (a: Attempt) => post(a.authority, '/token', grant, { authorization }),
    })),
  ])('$name', async ({ ask }) => {
    const attempt = await setup();
    const { status, headers, body } = await ask(attempt);
    expect({ status, body }).toEqual({ status: 401, body: FAILED });
    expect(headers).toMatchObject({
      'www-authenticate': 'Basic realm="latchkey", charset="UTF-8"',
      'cache-control': 'no-store',
      'content-length': String(JSON.stringify(FAILED).length),
    });
    expect(attempt.authority.log.all('token.refused').at(-1)).toMatchObject({
      error: 'invalid_client',
      detail: expect.any(String),
    });
  });
});

describe('more than one kind of credentials is refused, and none of them is used', () => {
  const message = expect.stringContaining('more than one kind of client authentication');

  test.each([
    { name: 'Basic and a secret in the body', hasAssertion: false, error: 'invalid_request' },
    { name: 'Basic and an assertion', hasAssertion: true, error: 'invalid_client' },
  ])('$name: $error', async ({ hasAssertion, error }) => {
    const attempt = await setup();
    const { authority, service } = attempt;
    const credentials = await service.assertion();
    const more: Readonly<Record<string, string>> = hasAssertion
      ? credentials
      : { client_id: 'shop', client_secret: service.secret };
    const answer = await post(authority, '/token', { ...grant, ...more }, service.basic);
    expect(answer.body).toEqual({ error, error_description: message });
    expect(answer.status).toBe(error === 'invalid_client' ? 401 : 400);
    expect((await askWith(attempt, credentials)).status).toBe(200);
  });

  test('a secret in the body and an assertion: invalid_client', async () => {
    const attempt = await setup();
    const { service } = attempt;
    const answer = await askWith(attempt, {
      ...(await service.assertion()),
      client_id: 'shop',
      client_secret: service.secret,
    });
    expect(answer).toMatchObject({
      status: 401,
      body: { error: 'invalid_client', error_description: message },
    });
  });
});

describe('a request that cannot be understood is invalid_request:', () => {
  test.each([
    { name: 'no client_assertion', more: { client_assertion_type: CLIENT_ASSERTION_TYPE } },
    { name: 'no client_assertion_type', more: { client_assertion: 'x' } },
    {
      name: 'another client_assertion_type',
      more: {
        client_assertion: 'x',
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:saml2-bearer',
      },
    },
    { name: 'a secret without client_id', more: { client_secret: 'x' } },
  ])('$name', async ({ more }) => {
    const answer = await askWith(await setup(), more as Readonly<Record<string, string>>);
    expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
  });
});

describe('accepted:', () => {
  test.each([
    {
      name: 'basic in small letters',
      header: (s: TestService) => s.basic.authorization.replace('Basic', 'basic'),
    },
    { name: 'two blanks', header: (s: TestService) => s.basic.authorization.replace(' ', '  ') },
    {
      name: 'an id and a secret that were not form-encoded, as curl sends them',
      header: (s: TestService) => `Basic ${Buffer.from(`shop:${s.secret}`).toString('base64')}`,
    },
    {
      name: 'characters encoded without need',
      header: (s: TestService) =>
        `Basic ${Buffer.from(`%73hop:${s.secret.replace('_', '%5f')}`).toString('base64')}`,
    },
  ])('Basic with $name', async ({ header }) => {
    const { authority, service } = await setup();
    const answer = await post(authority, '/token', grant, { authorization: header(service) });
    expect(answer.status).toBe(200);
  });

  test('an id with a colon, form-encoded', async () => {
    const { authority } = await setup();
    const service = await addService(authority, 'shop:eu', { roles: ['thermostat'] });
    expect((await post(authority, '/token', grant, service.basic)).status).toBe(200);
  });

  test('client_id beside Basic and beside an assertion, when it is the same', async () => {
    const attempt = await setup();
    const { authority, service } = attempt;
    const more = { ...grant, client_id: 'shop' };
    expect((await post(authority, '/token', more, service.basic)).status).toBe(200);
    expect((await askWith(attempt, { ...more, ...(await service.assertion()) })).status).toBe(200);
  });

  test('the old and the new secret while both are valid', async () => {
    const attempt = await setup();
    const { authority, service } = attempt;
    const expiresAt = authority.clock.now() + 60;
    const second = await addSecret(authority, service.clientId, expiresAt);
    authority.clock.set(expiresAt - 1);
    expect((await askPost(attempt, 'shop', service.secret)).status).toBe(200);
    expect((await askPost(attempt, 'shop', second)).status).toBe(200);
  });
});

test('the holder of the key learns that its clock is wrong, and nobody else', async () => {
  const attempt = await setup();
  const { authority, service } = attempt;
  const late = { now: authority.clock.now() - 600 };
  expect((await askWith(attempt, await service.assertion(late))).body).toEqual({
    error: 'invalid_client',
    error_description: "the client's clock differs by about 600 s (it is behind)",
  });
  const stranger = createTestDevice(authority, 'shop', generateKey());
  const forged = await stranger.assertion({ use: 'client-authentication', ...late });
  expect((await askWith(attempt, jwt(forged))).body).toEqual(FAILED);
});

test('an assertion sent twenty times at once authenticates once', async () => {
  const attempt = await setup();
  const credentials = await attempt.service.assertion();
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => askWith(attempt, credentials)),
  );
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
});

describe('beside the jwt-bearer grant credentials are verified too', () => {
  const bearer = async (attempt: Attempt, more: object, headers = {}) => {
    const device = await addDevice(attempt.authority);
    const parameters = {
      grant_type: JWT_BEARER_GRANT,
      assertion: await device.assertion(),
      ...more,
    };
    return { device, answer: await post(attempt.authority, '/token', parameters, headers) };
  };
  const own = async (attempt: Attempt) => {
    const device = createTestDevice(attempt.authority, 'twice');
    await attempt.authority.api('POST', '/devices', {
      client_id: 'twice',
      public_key: device.key.publicKey.jwk,
      roles: ['thermostat'],
    });
    return device;
  };

  test('of the same client: a token', async () => {
    const attempt = await setup();
    const device = await own(attempt);
    const client = await device.assertion({ use: 'client-authentication' });
    const answer = await post(attempt.authority, '/token', {
      grant_type: JWT_BEARER_GRANT,
      assertion: await device.assertion(),
      ...jwt(client),
    });
    expect(answer.status).toBe(200);
  });

  test('of another client: invalid_grant', async () => {
    const attempt = await setup();
    const { answer } = await bearer(attempt, {}, attempt.service.basic);
    expect(answer).toMatchObject({
      status: 400,
      body: { error: 'invalid_grant', error_description: 'the assertion is not valid' },
    });
  });

  test('wrong: invalid_client, and the grant is not spent', async () => {
    const attempt = await setup();
    const device = await own(attempt);
    const assertion = await device.assertion();
    const parameters = { grant_type: JWT_BEARER_GRANT, assertion };
    const wrong = basic('shop', newSecret());
    const refused = await post(attempt.authority, '/token', parameters, wrong);
    expect(refused).toMatchObject({ status: 401, body: FAILED });
    expect((await attempt.authority.token(assertion)).status).toBe(200);
  });

  test('one assertion cannot be both', async () => {
    const attempt = await setup();
    const { authority } = attempt;
    const device = await own(attempt);
    const now = authority.clock.now();
    const untyped = signedJwt(
      { alg: 'EdDSA', kid: device.key.publicKey.kid },
      {
        iss: device.clientId,
        sub: device.clientId,
        aud: authority.issuer,
        iat: now,
        exp: now + 60,
        jti: '0123456789abcdef',
      },
      device.key,
    );
    const answer = await post(authority, '/token', {
      grant_type: JWT_BEARER_GRANT,
      assertion: untyped,
      ...jwt(untyped),
    });
    expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
  });
});

test('no secret and no assertion is in the log, whatever fails', async () => {
  const attempt = await setup();
  const { authority, service } = attempt;
  const wrong = newSecret();
  const credentials = await service.assertion();
  await askBasic(attempt, 'shop', wrong);
  await askPost(attempt, 'nobody', wrong);
  await askWith(attempt, credentials);
  await askWith(attempt, credentials);
  await post(authority, '/token', { ...grant, ...credentials }, service.basic);
  await postJson(authority, '/token', { ...grant, client_secret: [wrong] });
  const text = authority.log.text();
  for (const secret of [wrong, service.secret, credentials.client_assertion ?? '']) {
    expect(secret.length).toBeGreaterThan(20);
    expect(text).not.toContain(secret);
  }
});
