/** `POST /revoke`: a client gives up its own tokens, and nobody else's. */
import { MAX_REVOKED_TOKENS_PER_CLIENT } from '@latchkey/authority';
import { parseClientId } from '@latchkey/shared';
import SqliteDatabase from 'better-sqlite3';
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
  execSql,
  openTestAuthority,
  type TestAuthority,
} from '../../helpers/test-authority.ts';

interface Setup {
  readonly authority: TestAuthority;
  readonly operator: TestService;
  readonly other: TestService;
  readonly token: string;
}

const grant = { grant_type: 'client_credentials' };

/** A second operator with a token for the management API, so that its end can be seen there. */
async function setup(): Promise<Setup> {
  const authority = await openTestAuthority();
  await addThermostatRole(authority);
  const operator = await addService(authority, 'second', { roles: ['operator'] });
  const other = await addService(authority, 'other', { roles: ['operator'] });
  const { body } = await post(authority, '/token', grant, operator.basic);
  return { authority, operator, other, token: String(body.access_token) };
}

const manage = async ({ authority }: Setup, token: string) =>
  (
    await authority.authority.app.inject({
      url: '/api/v1/roles',
      headers: { authorization: `Bearer ${token}` },
    })
  ).statusCode;

const rows = ({ authority }: Setup): readonly unknown[] => {
  const db = new SqliteDatabase(`${authority.dataDir}/registry.sqlite`, { readonly: true });
  try {
    return db.prepare('SELECT jti, client, expires_at FROM revoked_token').all();
  } finally {
    db.close();
  }
};

describe('the owner', () => {
  test('ends its token at once, for the management API and introspection', async () => {
    const all = await setup();
    const { authority, operator, other, token } = all;
    expect(await manage(all, token)).toBe(200);
    const answer = await post(authority, '/revoke', { token }, operator.basic);
    expect(answer).toMatchObject({ status: 200, body: {} });
    expect(answer.headers).toMatchObject({ 'cache-control': 'no-store', 'content-length': '0' });
    expect(await manage(all, token)).toBe(401);
    const introspection = await post(authority, '/introspect', { token }, other.basic);
    expect(introspection.body).toEqual({ active: false });
    expect(authority.log.all('token.revoked')).toEqual([
      { event: 'token.revoked', clientId: 'second', jti: expect.any(String) },
    ]);
  });

  test('ends one token and no other', async () => {
    const all = await setup();
    const { authority, operator, token } = all;
    const second = (await post(authority, '/token', grant, operator.basic)).body.access_token;
    await post(authority, '/revoke', { token }, operator.basic);
    expect(await manage(all, String(second))).toBe(200);
  });

  test('may repeat it', async () => {
    const all = await setup();
    const { authority, operator, token } = all;
    for (const hint of ['access_token', 'refresh_token', 'nonsense']) {
      const parameters = { token, token_type_hint: hint };
      expect((await post(authority, '/revoke', parameters, operator.basic)).status).toBe(200);
    }
    expect(rows(all)).toHaveLength(1);
  });

  test('may be a device with its key', async () => {
    const { authority } = await setup();
    const device = await addDevice(authority);
    const { body } = await authority.token(await device.assertion());
    const answer = await post(authority, '/revoke', {
      token: (body as { access_token: string }).access_token,
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      client_assertion: await device.assertion({ use: 'client-authentication' }),
    });
    expect(answer.status).toBe(200);
    expect(authority.log.all('token.revoked')).toHaveLength(1);
  });

  test('finds it revoked after a restart too', async () => {
    const all = await setup();
    const { authority, operator, token } = all;
    await post(authority, '/revoke', { token }, operator.basic);
    await authority.authority.close();
    const { dataDir, clock } = authority;
    const again = await openTestAuthority({ dataDir, clock });
    expect(await manage({ ...all, authority: again }, token)).toBe(401);
  });
});

test('a foreign client cannot revoke, and is told so', async () => {
  const all = await setup();
  const answer = await post(all.authority, '/revoke', { token: all.token }, all.other.basic);
  expect(answer).toMatchObject({
    status: 400,
    body: { error: 'invalid_grant', error_description: 'the token was issued to another client' },
  });
  expect(await manage(all, all.token)).toBe(200);
  expect(rows(all)).toEqual([]);
});

describe('200 and no record for what is no live token of ours:', () => {
  test.each<{ name: string; token: (all: Setup) => Promise<string> | string }>([
    { name: 'garbage', token: () => 'x' },
    { name: 'a changed signature', token: ({ token }) => `${token.slice(0, -8)}AAAAAAAA` },
    {
      name: 'an assertion',
      token: async ({ operator }) => (await operator.assertion()).client_assertion ?? '',
    },
    {
      name: 'an expired token',
      token: ({ authority, token }) => {
        authority.clock.set(authority.clock.now() + 900);
        return token;
      },
    },
  ])('$name', async ({ token }) => {
    const all = await setup();
    const answer = await post(
      all.authority,
      '/revoke',
      { token: await token(all) },
      all.operator.basic,
    );
    expect(answer).toMatchObject({ status: 200, body: {} });
    expect(rows(all)).toEqual([]);
  });
});

describe('refused:', () => {
  test.each<{ name: string; headers: Readonly<Record<string, string>> }>([
    { name: 'no credentials', headers: {} },
    { name: 'a wrong secret', headers: basic('second', newSecret()) },
    { name: 'a bearer token', headers: { authorization: 'Bearer x' } },
  ])('$name', async ({ headers }) => {
    const all = await setup();
    const answer = await post(all.authority, '/revoke', { token: all.token }, headers);
    expect(answer).toMatchObject({ status: 401, body: { error: 'invalid_client' } });
    expect(await manage(all, all.token)).toBe(200);
  });

  test('no token', async () => {
    const { authority, operator } = await setup();
    expect(await post(authority, '/revoke', {}, operator.basic)).toMatchObject({
      status: 400,
      body: { error: 'invalid_request', error_description: 'token is missing' },
    });
  });
});

describe('revoked tokens are remembered', () => {
  const clientId = parseClientId('second');

  test('until they expire, and then forgotten', async () => {
    const { authority } = await setup();
    const { registry, clock } = authority;
    const now = clock.now();
    await registry.revokeToken({ jti: 'first', clientId, expiresAt: now + 10 });
    await registry.revokeToken({ jti: 'second', clientId, expiresAt: now + 20 });
    clock.set(now + 10);
    await registry.revokeToken({ jti: 'third', clientId, expiresAt: now + 20 });
    expect(await registry.isTokenRevoked('first')).toBe(false);
    expect(await registry.isTokenRevoked('second')).toBe(true);
    expect(await registry.isTokenRevoked('third')).toBe(true);
  });

  test('up to a bound for each client, beyond which it has to wait', async () => {
    const all = await setup();
    const { authority, operator, other, token } = all;
    const expiresAt = authority.clock.now() + 900;
    execSql(
      authority,
      `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${MAX_REVOKED_TOKENS_PER_CLIENT + 100})
       INSERT INTO revoked_token SELECT 'filler-' || i, 'second', ${expiresAt} FROM n`,
    );
    const full = await post(authority, '/revoke', { token }, operator.basic);
    expect(full).toMatchObject({ status: 503, body: { error: 'temporarily_unavailable' } });
    expect(full.headers['retry-after']).toBe('5');
    const theirs = (await post(authority, '/token', grant, other.basic)).body.access_token;
    const answer = await post(authority, '/revoke', { token: String(theirs) }, other.basic);
    expect(answer.status).toBe(200);
    authority.clock.set(expiresAt);
    const later = (await post(authority, '/token', grant, operator.basic)).body.access_token;
    const again = await post(authority, '/revoke', { token: String(later) }, operator.basic);
    expect(again.status).toBe(200);
  });
});
