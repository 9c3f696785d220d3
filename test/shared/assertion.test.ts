import {
  ASSERTION_CLOCK_TOLERANCE_SECONDS,
  ASSERTION_MAX_LIFETIME_SECONDS,
  type AssertionUse,
  createKeySigner,
  importPublicJwk,
  newJti,
  type PublicJwk,
  parseIssuer,
  signAssertion,
  verifyAssertion,
} from '@latchkey/shared';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  CLIENT_ID,
  GRANT,
  ISSUER,
  JWT_KINDS,
  jwtOf,
  KEY,
  NOW,
  OTHER_KEY,
} from '../helpers/jwts.ts';
import openssl from '../vectors/openssl-3.0-ed25519.json' with { type: 'json' };

const signer = createKeySigner(KEY);
const findKey = async () => KEY.publicKey;
const verify = (text: unknown, options: object = {}) =>
  verifyAssertion(text, { issuer: ISSUER, use: 'grant', now: NOW, findKey, ...options });
const refused = (reason: string, claim?: string) =>
  expect.objectContaining({ name: 'JwtError', reason, claim });
const decode = (text: string) =>
  text
    .split('.')
    .slice(0, 2)
    .map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()));

describe('signAssertion', () => {
  test('writes the members that RFC 7523 3 wants, and no others', async () => {
    const text = await signAssertion(signer, { clientId: CLIENT_ID, issuer: ISSUER, now: NOW });
    expect(decode(text)).toEqual([
      { alg: 'EdDSA', typ: 'device-assertion+jwt', kid: KEY.publicKey.kid },
      {
        iss: CLIENT_ID,
        sub: CLIENT_ID,
        aud: ISSUER,
        iat: NOW,
        exp: NOW + 60,
        jti: expect.stringMatching(/^[A-Za-z0-9_-]{22}$/),
      },
    ]);
  });

  test.each(['grant', 'client-authentication'] as const)(
    'what it writes for %s verifies',
    async (use) => {
      const options = { clientId: CLIENT_ID, issuer: ISSUER, now: NOW, use, lifetimeSeconds: 300 };
      const text = await signAssertion(signer, { ...options, jti: 'j'.repeat(16) });
      await expect(verify(text, { use })).resolves.toEqual({
        clientId: CLIENT_ID,
        kid: KEY.publicKey.kid,
        jti: 'j'.repeat(16),
        expiresAt: NOW + 300,
        rememberUntil: NOW + 420,
      });
      const otherUse: AssertionUse = use === 'grant' ? 'client-authentication' : 'grant';
      await expect(verify(text, { use: otherUse })).rejects.toEqual(refused('type', 'typ'));
    },
  );

  test('emits the algorithm name of the signer', async () => {
    const modern = createKeySigner(KEY, 'Ed25519');
    const text = await signAssertion(modern, { clientId: CLIENT_ID, issuer: ISSUER, now: NOW });
    expect(decode(text)[0].alg).toBe('Ed25519');
    await expect(verify(text)).resolves.toMatchObject({ clientId: CLIENT_ID });
  });

  test.each([
    { lifetimeSeconds: 0, ok: false },
    { lifetimeSeconds: -1, ok: false },
    { lifetimeSeconds: 1, ok: true },
    { lifetimeSeconds: 300, ok: true },
    { lifetimeSeconds: 301, ok: false },
    { lifetimeSeconds: Number.NaN, ok: false },
  ])('a lifetime of $lifetimeSeconds s: $ok', async ({ lifetimeSeconds, ok }) => {
    const made = signAssertion(signer, {
      clientId: CLIENT_ID,
      issuer: ISSUER,
      now: NOW,
      lifetimeSeconds,
    });
    if (ok) await expect(made.then((text) => verify(text))).resolves.toBeDefined();
    else await expect(made).rejects.toThrow(RangeError);
  });

  test('every jti is another one of 128 bits', () => {
    const made = Array.from({ length: 1000 }, newJti);
    expect(new Set(made).size).toBe(1000);
    for (const jti of made) expect(Buffer.from(jti, 'base64url')).toHaveLength(16);
  });
});

describe('verifyAssertion: identity', () => {
  test.each([
    { name: 'of another device', sub: 't-43', reason: 'claim' },
    { name: 'in upper case', sub: 'T-42', reason: 'claim' },
    { name: 'missing', sub: undefined, reason: 'claim' },
    { name: 'a number', sub: 42, reason: 'claim' },
    { name: 'an array', sub: ['t-42'], reason: 'claim' },
    { name: 'null', sub: null, reason: 'claim' },
  ])('refused: sub $name', async ({ sub, reason }) => {
    await expect(verify(jwtOf(GRANT, { sub }))).rejects.toEqual(refused(reason, 'sub'));
  });

  test.each([
    undefined,
    null,
    42,
    ['t-42'],
    {},
    '',
    'a/b',
    '../t-42',
    "t' OR 1=1",
    't-42 ',
    'x'.repeat(65),
    't-42\n',
    'ｔ-42',
  ])('refused without asking for a key: iss %j', async (iss) => {
    let asked = 0;
    const verdict = verify(jwtOf(GRANT, { iss, sub: iss }), {
      findKey: async () => {
        asked += 1;
        return KEY.publicKey;
      },
    });
    // The same answer as for a device that does not exist.
    await expect(verdict).rejects.toEqual(refused('key'));
    expect(asked).toBe(0);
  });

  test('the key is looked up by iss and kid, which is only a hint', async () => {
    const asked: unknown[] = [];
    const look = async (...query: unknown[]) => {
      asked.push(query);
      return KEY.publicKey;
    };
    const { kid } = await verify(jwtOf(GRANT), { findKey: look });
    expect(asked).toEqual([[CLIENT_ID, KEY.publicKey.kid]]);
    expect(kid).toBe(KEY.publicKey.kid);
  });

  test('the kid of another device gives its key no entrance', async () => {
    const keys = new Map([
      [`t-42 ${KEY.publicKey.kid}`, KEY.publicKey],
      [`t-43 ${OTHER_KEY.publicKey.kid}`, OTHER_KEY.publicKey],
    ]);
    const look = async (clientId: string, kid: string | undefined) =>
      keys.get(`${clientId} ${kid}`);
    const stolen = await signAssertion(createKeySigner(OTHER_KEY), {
      clientId: CLIENT_ID,
      issuer: ISSUER,
      now: NOW,
    });
    await expect(verify(stolen, { findKey: look })).rejects.toEqual(refused('key'));
  });

  test('an error of the registry is passed on and is no refusal', async () => {
    const down = async () => {
      throw new Error('database is closed');
    };
    await expect(verify(jwtOf(GRANT), { findKey: down })).rejects.toThrow('database is closed');
  });
});

describe('verifyAssertion: audience', () => {
  test.each([
    { name: 'the issuer', aud: ISSUER, ok: true },
    { name: 'an array of the issuer alone', aud: [ISSUER], ok: true },
    { name: 'missing', aud: undefined, ok: false },
    { name: 'null', aud: null, ok: false },
    { name: 'the token endpoint', aud: `${ISSUER}/token`, ok: false },
    { name: 'a trailing slash', aud: `${ISSUER}/`, ok: false },
    { name: 'an upper-case host', aud: 'https://ID.example', ok: false },
    { name: 'http', aud: 'http://id.example', ok: false },
    { name: 'a port', aud: `${ISSUER}:443`, ok: false },
    { name: 'another issuer', aud: 'https://evil.example', ok: false },
    { name: 'an array of two', aud: [ISSUER, 'https://evil.example'], ok: false },
    { name: 'the issuer twice', aud: [ISSUER, ISSUER], ok: false },
    { name: 'an empty array', aud: [], ok: false },
    { name: 'a nested array', aud: [[ISSUER]], ok: false },
    { name: 'an object', aud: { 0: ISSUER, length: 1 }, ok: false },
    { name: 'a number', aud: 1, ok: false },
  ])('$name: $ok', async ({ aud, ok }) => {
    const verdict = verify(jwtOf(GRANT, { aud }));
    if (ok) await expect(verdict).resolves.toBeDefined();
    else await expect(verdict).rejects.toEqual(refused('audience', 'aud'));
  });

  test('an issuer with a path is compared as a whole', async () => {
    const issuer = parseIssuer('https://id.example/fleet');
    await expect(verify(jwtOf(GRANT), { issuer })).rejects.toEqual(refused('audience', 'aud'));
    await expect(verify(jwtOf(GRANT, { aud: issuer }), { issuer })).resolves.toBeDefined();
  });
});

describe('verifyAssertion: times', () => {
  const tolerance = ASSERTION_CLOCK_TOLERANCE_SECONDS;
  const longest = ASSERTION_MAX_LIFETIME_SECONDS;
  test.each([
    { name: 'a lifetime of 1 s', iat: NOW, exp: NOW + 1, is: 'ok' },
    { name: 'a lifetime of 0 s', iat: NOW, exp: NOW, is: 'claim' },
    { name: 'exp before iat', iat: NOW, exp: NOW - 1, is: 'claim' },
    { name: 'a lifetime of 300 s', iat: NOW, exp: NOW + longest, is: 'ok' },
    { name: 'a lifetime of 301 s', iat: NOW, exp: NOW + longest + 1, is: 'claim' },
    { name: 'a lifetime of 301 s in the past', iat: NOW - 200, exp: NOW + 101, is: 'claim' },
    {
      name: 'the last second of the tolerance',
      iat: NOW - 300,
      exp: NOW - tolerance + 1,
      is: 'ok',
    },
    { name: 'one second later', iat: NOW - 300, exp: NOW - tolerance, is: 'expired' },
    { name: 'long ago', iat: NOW - 9000, exp: NOW - 8900, is: 'expired' },
    { name: 'iat ahead by the tolerance', iat: NOW + tolerance, exp: NOW + 150, is: 'ok' },
    {
      name: 'iat one second further ahead',
      iat: NOW + tolerance + 1,
      exp: NOW + 150,
      is: 'not-yet-valid',
    },
    { name: 'year 2106', iat: 2 ** 32, exp: 2 ** 32 + 60, is: 'not-yet-valid' },
    { name: 'the epoch', iat: 0, exp: 1, is: 'expired' },
  ])('$name: $is', async ({ iat, exp, is }) => {
    const verdict = verify(jwtOf(GRANT, { iat, exp }));
    if (is === 'ok') await expect(verdict).resolves.toMatchObject({ expiresAt: exp });
    else await expect(verdict).rejects.toMatchObject({ reason: is });
  });

  test.each([
    { nbf: NOW, is: 'ok' },
    { nbf: NOW + tolerance, is: 'ok' },
    { nbf: NOW + tolerance + 1, is: 'not-yet-valid' },
    { nbf: '0', is: 'claim' },
  ])('nbf $nbf: $is', async ({ nbf, is }) => {
    const verdict = verify(jwtOf(GRANT, { nbf }));
    if (is === 'ok') await expect(verdict).resolves.toBeDefined();
    else await expect(verdict).rejects.toMatchObject({ reason: is });
  });

  test.each(['iat', 'exp'])('refused: %s missing', async (claim) => {
    await expect(verify(jwtOf(GRANT, { [claim]: undefined }))).rejects.toEqual(
      refused('claim', claim),
    );
  });

  test.each([
    { name: 'ahead', shift: 600, reason: 'not-yet-valid' },
    { name: 'behind', shift: -600, reason: 'expired' },
  ])(
    'a clock that is $name is told by how much, and only to the owner of the key',
    async ({ shift, reason }) => {
      const times = { iat: NOW + shift, exp: NOW + shift + 60 };
      await expect(verify(jwtOf(GRANT, times))).rejects.toMatchObject({
        reason,
        clockOffsetSeconds: shift,
      });
      await expect(verify(jwtOf(GRANT, times, OTHER_KEY))).rejects.toMatchObject({
        reason: 'signature',
        clockOffsetSeconds: undefined,
      });
    },
  );

  test('what is accepted must be remembered until nobody accepts it any more', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: -500, max: 200 }),
        fc.integer({ min: 1, max: 300 }),
        async (shift, lifetime) => {
          const text = jwtOf(GRANT, { iat: NOW + shift, exp: NOW + shift + lifetime });
          const verified = await verify(text).catch(() => undefined);
          if (verified === undefined) return;
          await expect(verify(text, { now: verified.rememberUntil })).rejects.toMatchObject({
            reason: 'expired',
          });
        },
      ),
    );
  });
});

test('unknown claims are ignored', async () => {
  await expect(verify(jwtOf(GRANT, { scope: 'all', cnf: {} }))).resolves.toBeDefined();
});

test('an assertion signed by OpenSSL is accepted', async () => {
  const key = importPublicJwk(openssl.jwk as PublicJwk);
  const options = { findKey: async () => key, now: 1_760_000_030 };
  await expect(verify(openssl.assertion, options)).resolves.toMatchObject({
    clientId: 't-42',
    kid: openssl.thumbprint,
  });
  await expect(verify(openssl.accessToken, options)).rejects.toEqual(refused('type', 'typ'));
});

test('every required claim is required', async () => {
  for (const kind of JWT_KINDS) {
    for (const claim of Object.keys(kind.claims)) {
      const text = jwtOf(kind, { [claim]: undefined });
      if (claim === 'scope') await expect(kind.verify(text)).resolves.toBeDefined();
      else await expect(kind.verify(text), claim).rejects.toMatchObject({ name: 'JwtError' });
    }
  }
});
