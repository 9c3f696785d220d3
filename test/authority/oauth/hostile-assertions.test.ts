/**
 * Assertions as an attacker would send them, at the token endpoint, as grant and as client
 * authentication: each has the one answer of its place, and leaves no trace (STANDARDS 6.1 to 6.6).
 */
import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { formatPem } from '@latchkey/shared';
import SqliteDatabase from 'better-sqlite3';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  ACCESS_TOKEN,
  CLIENT_AUTHENTICATION,
  ENROLLMENT_PROOF,
  GRANT,
  headerOf,
  type JwtKind,
  jwtOf,
  KEY,
  NOW,
  OTHER_KEY,
  signedJwt,
} from '../../helpers/jwts.ts';
import { CLIENT_ASSERTION_TYPE, post } from '../../helpers/oauth-requests.ts';
import {
  addThermostatRole,
  openTestAuthority,
  type TestAuthority,
} from '../../helpers/test-authority.ts';

/** The device `t-42` holds `KEY`, and `t-43` holds `OTHER_KEY`. */
async function setup(): Promise<TestAuthority> {
  const authority = await openTestAuthority();
  await addThermostatRole(authority);
  for (const [id, key] of [
    ['t-42', KEY],
    ['t-43', OTHER_KEY],
  ] as const) {
    const body = { client_id: id, public_key: key.publicKey.jwk, roles: ['thermostat'] };
    expect((await authority.api('POST', '/devices', body)).status).toBe(201);
  }
  return authority;
}

const PLACES = [
  {
    place: 'grant',
    kind: GRANT,
    send: (authority: TestAuthority, text: string) => authority.token(text),
    refusal: {
      status: 400,
      body: { error: 'invalid_grant', error_description: 'the assertion is not valid' },
    },
  },
  {
    place: 'client authentication',
    kind: CLIENT_AUTHENTICATION,
    send: (authority: TestAuthority, text: string) =>
      post(authority, '/token', {
        grant_type: 'client_credentials',
        client_assertion_type: CLIENT_ASSERTION_TYPE,
        client_assertion: text,
      }),
    refusal: {
      status: 401,
      body: { error: 'invalid_client', error_description: 'client authentication failed' },
    },
  },
] as const;

function spentCount({ dataDir }: TestAuthority): unknown {
  const db = new SqliteDatabase(`${dataDir}/registry.sqlite`, { readonly: true });
  try {
    return db.prepare('SELECT count(*) FROM assertion_seen').pluck().get();
  } finally {
    db.close();
  }
}

const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url');

/** Signed as the algorithm wants, with the wrong kind of key. */
function signedWith(kind: JwtKind, alg: string, digest: string | null, key: KeyObject): string {
  const input = `${encode(headerOf(kind, { alg }))}.${encode(kind.claims)}`;
  const options = { key, dsaEncoding: 'ieee-p1363' } as const;
  return `${input}.${sign(digest, Buffer.from(input), options).toString('base64url')}`;
}

function withMac(kind: JwtKind, alg: string, secret: string | Buffer): string {
  const input = `${encode(headerOf(kind, { alg }))}.${encode(kind.claims)}`;
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
}

const withHeader = (kind: JwtKind, changes: object) =>
  signedJwt(headerOf(kind, changes), kind.claims);

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
const ed448 = generateKeyPairSync('ed448').privateKey;

type Attack = (kind: JwtKind) => readonly string[];

const ATTACKS: readonly { readonly name: string; readonly texts: Attack }[] = [
  {
    name: 'alg none in every spelling',
    texts: (kind) =>
      ['none', 'None', 'NONE', 'nOnE', ''].flatMap((alg) => {
        const [header, claims] = withHeader(kind, { alg }).split('.');
        return [`${header}.${claims}.`, `${header}.${claims}`, withHeader(kind, { alg })];
      }),
  },
  {
    name: 'a MAC keyed with the public key as bytes, PEM, x and JWK',
    texts: (kind) =>
      [
        Buffer.from(KEY.publicKey.jwk.x, 'base64url'),
        formatPem(KEY.publicKey),
        KEY.publicKey.jwk.x,
        JSON.stringify(KEY.publicKey.jwk),
      ].flatMap((secret) => ['HS256', 'EdDSA'].map((alg) => withMac(kind, alg, secret))),
  },
  {
    name: 'RS256, ES256 and Ed448 keys, under their own name and under EdDSA',
    texts: (kind) => [
      signedWith(kind, 'RS256', 'sha256', rsa),
      signedWith(kind, 'ES256', 'sha256', ec),
      signedWith(kind, 'EdDSA', 'sha256', ec),
      signedWith(kind, 'EdDSA', null, ed448),
      signedWith(kind, 'Ed448', null, ed448),
    ],
  },
  {
    name: 'names of the algorithm in another case',
    texts: (kind) => ['eddsa', 'EDDSA', 'ed25519'].map((alg) => withHeader(kind, { alg })),
  },
  {
    name: 'kid as SQL, path, long text, array, number and another device',
    texts: (kind) =>
      ["' OR 1=1 --", '../../etc/passwd', 'k'.repeat(5000), ['k'], 7, OTHER_KEY.publicKey.kid].map(
        (kid) => withHeader(kind, { kid }),
      ),
  },
  {
    name: 'the key of another device, named by its kid',
    texts: (kind) => [
      signedJwt(headerOf(kind, { kid: OTHER_KEY.publicKey.kid }), kind.claims, OTHER_KEY),
    ],
  },
  {
    name: 'a jwk of the attacker, crit, b64, zip and enc in the header',
    texts: (kind) => [
      signedJwt(headerOf(kind, { jwk: OTHER_KEY.publicKey.jwk }), kind.claims, OTHER_KEY),
      ...[{ crit: ['x'] }, { crit: [] }, { b64: false }, { zip: 'DEF' }, { enc: 'A256GCM' }].map(
        (member) => withHeader(kind, member),
      ),
    ],
  },
  {
    name: 'a JWE, JSON serialization and a nested JWT',
    texts: (kind) => {
      const good = jwtOf(kind);
      const [header, payload, signature] = good.split('.');
      return [
        `${header}..${payload}.${payload}.${signature}`,
        JSON.stringify({ protected: header, payload, signature }),
        JSON.stringify({ payload, signatures: [{ protected: header, signature }] }),
        signedJwt(headerOf(kind, { cty: 'JWT' }), good),
      ];
    },
  },
  {
    name: 'padding, blanks, line ends, a byte order mark and a changed last character',
    texts: (kind) => {
      const good = jwtOf(kind);
      const [header, payload, signature = ''] = good.split('.');
      const last = signature.endsWith('A') ? 'B' : 'A';
      return [
        `${good}=`,
        `${good}==`,
        `${header}=.${payload}.${signature}`,
        ` ${good}`,
        `${good} `,
        `${good}\n`,
        `${good}\r\n`,
        `\ufeff${good}`,
        `${header}.${payload}.${signature.slice(0, 9)} ${signature.slice(9)}`,
        good.slice(0, -1) + last,
        `${good}.${signature}`,
        `${header}.${payload}`,
        `${header}.${payload}.`,
      ];
    },
  },
  {
    name: 'members named twice, __proto__ around the claims, and invalid UTF-8',
    texts: (kind) => {
      const claims = JSON.stringify(kind.claims);
      const header = JSON.stringify(headerOf(kind));
      return [
        signedJwt(header, claims.replace('{', '{"iss":"t-43",')),
        signedJwt(header, claims.replace('{', '{"\\u0069ss":"t-43",')),
        signedJwt(header.replace('{', '{"alg":"none",'), claims),
        signedJwt(header, `{"__proto__":${claims}}`),
        signedJwt(header, `{"constructor":${claims}}`),
        signedJwt(header, Buffer.from(claims.replace('{', '{"x":"\xff",'), 'latin1')),
      ];
    },
  },
  {
    name: 'a required claim missing',
    texts: (kind) => Object.keys(kind.claims).map((claim) => jwtOf(kind, { [claim]: undefined })),
  },
  {
    name: 'exp and iat as text, negative, fractional, too large and far away',
    texts: (kind) => [
      ...['iat', 'exp'].flatMap((claim) =>
        ['1760000000', -1, NOW + 0.5, 2 ** 53, null, [NOW]].map((value) =>
          jwtOf(kind, { [claim]: value }),
        ),
      ),
      signedJwt(headerOf(kind), JSON.stringify(kind.claims).replace(/"exp":[0-9]+/, '"exp":1e400')),
      jwtOf(kind, { exp: NOW }),
      jwtOf(kind, { exp: NOW + 301 }),
    ],
  },
  {
    name: 'every other audience',
    texts: (kind) =>
      [
        'https://id.example/token',
        'https://id.example/',
        'https://ID.example',
        'https://other.example',
        ['https://id.example', 'https://other.example'],
        [['https://id.example']],
        [],
        null,
      ].map((aud) => jwtOf(kind, { aud })),
  },
  {
    name: 'another subject, and an issuer that is no id',
    texts: (kind) => [
      ...['t-43', 'operator', 42, ['t-42'], null].map((sub) => jwtOf(kind, { sub })),
      ...['T-42', "t' OR 1=1", '../t-42', 42, ['t-42']].map((iss) =>
        jwtOf(kind, { iss, sub: iss }),
      ),
      jwtOf(kind, { iss: 't-43' }),
    ],
  },
  {
    name: 'a jti that is missing, short, long or no text',
    texts: (kind) =>
      [undefined, '', 'j'.repeat(15), 'j'.repeat(129), 7, ['j'.repeat(16)]].map((jti) =>
        jwtOf(kind, { jti }),
      ),
  },
  {
    name: 'every other kind of JWT',
    texts: (kind) => [
      jwtOf(kind === GRANT ? CLIENT_AUTHENTICATION : GRANT),
      jwtOf(ACCESS_TOKEN),
      jwtOf(ENROLLMENT_PROOF),
      withHeader(kind, { typ: 'dpop+jwt', jwk: KEY.publicKey.jwk }),
      withHeader(kind, { typ: 'dpop+jwt' }),
      withHeader(kind, { typ: 'statuslist+jwt' }),
      withHeader(kind, { typ: 'at+jwt' }),
    ],
  },
];

describe.each(PLACES)('refused with one answer, as $place:', ({ kind, send, refusal }) => {
  test.each(ATTACKS)('$name', async ({ texts }) => {
    const authority = await setup();
    const [before, spent] = [authority.dump(), spentCount(authority)];
    for (const [number, text] of texts(kind).entries()) {
      const { status, body } = await send(authority, text);
      expect({ number, status, body }).toEqual({ number, ...refusal });
    }
    expect(spentCount(authority)).toBe(spent);
    expect(authority.dump()).toBe(before);
    expect((await send(authority, jwtOf(kind))).status).toBe(200);
  });
});

test('no URL in a header is ever fetched', async () => {
  const authority = await setup();
  let requests = 0;
  const canary = createServer((_request, response) => {
    requests += 1;
    response.end('{"keys":[]}');
  }).listen(0, '127.0.0.1');
  onTestFinished(() => void canary.close());
  await once(canary, 'listening');
  const url = `http://127.0.0.1:${(canary.address() as AddressInfo).port}/jwks`;
  for (const { kind, send, refusal } of PLACES) {
    for (const member of ['jku', 'x5u']) {
      const text = signedJwt(headerOf(kind, { [member]: url }), kind.claims, OTHER_KEY);
      expect(await send(authority, text)).toMatchObject(refusal);
    }
  }
  expect(requests).toBe(0);
});

test('forged assertions do not fill the table of spent ones', async () => {
  const authority = await setup();
  const before = spentCount(authority);
  for (let i = 0; i < 100; i += 1) {
    const jti = `0123456789abcdef-${i}`;
    expect((await authority.token(jwtOf(GRANT, { jti }, OTHER_KEY))).status).toBe(400);
  }
  expect(spentCount(authority)).toBe(before);
});

test('an assertion is spent at every instance that shares the registry, at once', async () => {
  const first = await setup();
  const second = await openTestAuthority({ dataDir: first.dataDir, clock: first.clock });
  const text = jwtOf(GRANT);
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? first : second).token(text)),
  );
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
});

test('the same jti of two clients is two assertions', async () => {
  const authority = await setup();
  const other = { iss: 't-43', sub: 't-43' };
  const texts = [
    jwtOf(GRANT),
    signedJwt(
      headerOf(GRANT, { kid: OTHER_KEY.publicKey.kid }),
      { ...GRANT.claims, ...other },
      OTHER_KEY,
    ),
  ];
  for (const text of texts) expect((await authority.token(text)).status).toBe(200);
  for (const text of texts) expect((await authority.token(text)).status).toBe(400);
});

test('a spent assertion stays spent whatever its spelling: JSON with blanks is another signature', async () => {
  const authority = await setup();
  expect((await authority.token(jwtOf(GRANT))).status).toBe(200);
  // Signed again by the owner over other bytes, with the same jti.
  const respelled = signedJwt(headerOf(GRANT), JSON.stringify(GRANT.claims, undefined, 1));
  expect(await authority.token(respelled)).toMatchObject(PLACES[0].refusal);
});

test.each(['EdDSA', 'Ed25519'])('alg %s is accepted in both places', async (alg) => {
  const authority = await setup();
  for (const { kind, send, place } of PLACES) {
    const claims = { ...kind.claims, jti: `0123456789abcdef ${place}`.replaceAll(' ', '-') };
    const text = signedJwt(headerOf(kind, { alg }), claims);
    expect((await send(authority, text)).status).toBe(200);
  }
});

describe('the clock of the authority', () => {
  test('set back by an hour makes no spent assertion fresh', async () => {
    const authority = await setup();
    const text = jwtOf(GRANT);
    expect((await authority.token(text)).status).toBe(200);
    authority.clock.set(NOW - 3600);
    expect((await authority.token(text)).status).toBe(400);
    authority.clock.set(NOW);
    expect((await authority.token(text)).status).toBe(400);
  });

  test('may be beyond the year 2106, where seconds need more than 32 bits', async () => {
    const authority = await setup();
    const now = 2 ** 32 + 1000;
    authority.clock.set(now);
    const { status, body } = await authority.token(jwtOf(GRANT, { iat: now, exp: now + 60 }));
    expect(status).toBe(200);
    const [, payload = ''] = (body as { access_token: string }).access_token.split('.');
    const { iat, exp } = JSON.parse(Buffer.from(payload, 'base64url').toString());
    expect({ iat, exp }).toEqual({ iat: now, exp: now + 600 });
  });
});

test('a device that is revoked between its assertion and the token gets none', async () => {
  const authority = await setup();
  const { registry } = authority;
  const rights = registry.rights.bind(registry);
  Object.assign(registry, {
    rights: async (...args: Parameters<typeof rights>) => {
      const before = await rights(...args);
      await registry.setClientStatus('t-42' as never, 'revoked');
      return before;
    },
  });
  expect(await authority.token(jwtOf(GRANT))).toMatchObject(PLACES[0].refusal);
});

describe('keys of a client', () => {
  const kidOf = (key: typeof KEY) => headerOf(GRANT, { kid: key.publicKey.kid });
  const ask = (authority: TestAuthority, key: typeof KEY, jti: string) =>
    authority.token(signedJwt(kidOf(key), { ...GRANT.claims, jti: `${jti}-0123456789` }, key));

  test('are all good while they overlap, and a removed one is refused at once', async () => {
    const authority = await openTestAuthority();
    await addThermostatRole(authority);
    const body = { client_id: 't-42', public_key: KEY.publicKey.jwk, roles: ['thermostat'] };
    await authority.api('POST', '/devices', body);
    const id = 't-42' as never;
    await authority.registry.startKeyRotation(id, { key: OTHER_KEY.publicKey });
    expect((await ask(authority, KEY, 'both-old')).status).toBe(200);
    expect((await ask(authority, OTHER_KEY, 'both-new')).status).toBe(200);
    await authority.registry.endKeyRotation(id, 'finish');
    // The key is still in the cache of imported keys, which decides nothing.
    expect(await ask(authority, KEY, 'after-old')).toMatchObject(PLACES[0].refusal);
    expect((await ask(authority, OTHER_KEY, 'after-new')).status).toBe(200);
  });

  test('are not good for another client that registers them afterwards', async () => {
    const authority = await setup();
    await authority.registry.deleteClient('t-43' as never);
    const answer = await authority.api('POST', '/devices', {
      client_id: 't-44',
      public_key: OTHER_KEY.publicKey.jwk,
    });
    expect(answer.status).toBe(409);
  });
});

test('an assertion for a hostile server with honest endpoints is worth nothing here', async () => {
  // The agent signs for the issuer that it checked, so hostile metadata yields only this.
  const authority = await setup();
  for (const { kind, send, refusal } of PLACES) {
    expect(await send(authority, jwtOf(kind, { aud: 'https://hostile.example' }))).toMatchObject(
      refusal,
    );
  }
});

describe('there is no dynamic registration:', () => {
  test.each([
    ['POST', '/register'],
    ['PUT', '/register/t-42'],
    ['PUT', '/api/v1/devices/t-42'],
    ['POST', '/connect/register'],
  ] as const)('%s %s is not there', async (method, url) => {
    const { authority } = await setup();
    const response = await authority.app.inject({
      method,
      url,
      payload: { client_id: 't-42', jwks_uri: 'http://127.0.0.1/' },
    });
    expect(response.statusCode).toBe(404);
  });

  test('an enrollment with jwks_uri is refused, and nothing is fetched', async () => {
    const { enroll } = await setup();
    for (const host of ['127.0.0.1:1', '169.254.169.254', 'rebinding.example']) {
      const { status, body } = await enroll({ client_id: 'n-1', jwks_uri: `http://${host}/jwks` });
      expect(status).toBe(400);
      expect(body).toMatchObject({
        error: 'invalid_request',
        error_description: expect.stringContaining('jwks_uri unknown key'),
      });
    }
  });
});
