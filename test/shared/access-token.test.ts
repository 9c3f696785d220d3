import {
  createKeySigner,
  formatScope,
  importPublicJwk,
  type PublicJwk,
  parseResourceId,
  signAccessToken,
  TOKEN_CLOCK_TOLERANCE_SECONDS,
  TOKEN_DEFAULT_LIFETIME_SECONDS,
  TOKEN_MAX_LIFETIME_SECONDS,
  TOKEN_MIN_LIFETIME_SECONDS,
  UnavailableError,
  verifyAccessToken,
  verifyOwnToken,
} from '@latchkey/shared';
import { describe, expect, test } from 'vitest';
import {
  ACCESS_TOKEN,
  AUDIENCE,
  CLIENT_ID,
  ISSUER,
  jwtOf,
  KEY,
  NOW,
  OTHER_KEY,
} from '../helpers/jwts.ts';
import openssl from '../vectors/openssl-3.0-ed25519.json' with { type: 'json' };

const signer = createKeySigner(KEY);
const verify = (text: unknown, options: object = {}) =>
  verifyAccessToken(text, {
    issuer: ISSUER,
    audience: AUDIENCE,
    now: NOW,
    findKey: () => KEY.publicKey,
    ...options,
  });
const refused = (reason: string, claim?: string) =>
  expect.objectContaining({ name: 'JwtError', reason, claim });
const claims = {
  issuer: ISSUER,
  clientId: CLIENT_ID,
  audience: AUDIENCE,
  issuedAt: NOW,
  expiresAt: NOW + 900,
  jti: 'j'.repeat(22),
  scope: 'pub:devices/t-42/# orders:read',
};

describe('signAccessToken', () => {
  test('writes the members of RFC 9068 2, and they verify', async () => {
    const text = await signAccessToken(signer, claims);
    const [header, payload] = text
      .split('.')
      .map((part) => Buffer.from(part, 'base64url').toString());
    expect(JSON.parse(header!)).toEqual({ alg: 'EdDSA', typ: 'at+jwt', kid: KEY.publicKey.kid });
    expect(JSON.parse(payload!)).toEqual({
      iss: ISSUER,
      sub: CLIENT_ID,
      client_id: CLIENT_ID,
      aud: AUDIENCE,
      iat: NOW,
      exp: NOW + 900,
      jti: 'j'.repeat(22),
      scope: 'pub:devices/t-42/# orders:read',
    });
    const { scope, ...rest } = await verify(text);
    expect(rest).toEqual({
      clientId: CLIENT_ID,
      jti: 'j'.repeat(22),
      kid: KEY.publicKey.kid,
      issuedAt: NOW,
      expiresAt: NOW + 900,
    });
    expect(formatScope(scope)).toBe('pub:devices/t-42/# orders:read');
  });

  test.each([
    { scope: 'pub:a orders:read', scp: ['pub:a', 'orders:read'] },
    { scope: '', scp: [] },
  ])('writes scp $scp and cid beside scope and client_id when asked', async ({ scope, scp }) => {
    const text = await signAccessToken(signer, { ...claims, scope, hasLegacyClaims: true });
    const payload = JSON.parse(Buffer.from(text.split('.')[1]!, 'base64url').toString());
    expect(payload).toMatchObject({ scope, scp, client_id: CLIENT_ID, cid: CLIENT_ID });
    await expect(verify(text)).resolves.toMatchObject({ clientId: CLIENT_ID });
  });

  test.each([
    { seconds: 0, ok: false },
    { seconds: 1, ok: true },
    { seconds: TOKEN_MAX_LIFETIME_SECONDS, ok: true },
    { seconds: TOKEN_MAX_LIFETIME_SECONDS + 1, ok: false },
    { seconds: -5, ok: false },
    { seconds: Number.NaN, ok: false },
  ])('a lifetime of $seconds s: $ok', async ({ seconds, ok }) => {
    const made = signAccessToken(signer, { ...claims, expiresAt: NOW + seconds });
    if (ok) await expect(made.then((text) => verify(text))).resolves.toBeDefined();
    else await expect(made).rejects.toThrow(RangeError);
  });

  test('the default lifetime is within the bounds', () => {
    expect(TOKEN_DEFAULT_LIFETIME_SECONDS).toBeGreaterThan(TOKEN_MIN_LIFETIME_SECONDS);
    expect(TOKEN_DEFAULT_LIFETIME_SECONDS).toBeLessThan(TOKEN_MAX_LIFETIME_SECONDS);
  });
});

describe('verifyAccessToken: issuer and key', () => {
  test.each([
    'https://evil.example',
    `${ISSUER}/`,
    'https://ID.example',
    `${ISSUER}/clients/t-42`,
    undefined,
    null,
    [ISSUER],
    1,
  ])('iss %j is refused before any key is looked up', async (iss) => {
    let asked = 0;
    const findKey = () => {
      asked += 1;
      return KEY.publicKey;
    };
    await expect(verify(jwtOf(ACCESS_TOKEN, { iss }), { findKey })).rejects.toEqual(
      refused('issuer', 'iss'),
    );
    expect(asked).toBe(0);
  });

  test('the key is looked up by kid, at once or later', async () => {
    const asked: unknown[] = [];
    const findKey = async (kid: unknown) => {
      asked.push(kid);
      return KEY.publicKey;
    };
    await expect(verify(jwtOf(ACCESS_TOKEN), { findKey })).resolves.toBeDefined();
    expect(asked).toEqual([KEY.publicKey.kid]);
  });

  test('an unreachable key set is passed on and is no refusal', async () => {
    const findKey = async () => {
      throw new UnavailableError('no keys');
    };
    await expect(verify(jwtOf(ACCESS_TOKEN), { findKey })).rejects.toThrow(UnavailableError);
  });

  test('claims are not judged before the signature', async () => {
    const forged = jwtOf(ACCESS_TOKEN, { exp: NOW - 1, aud: 'https://evil.example' }, OTHER_KEY);
    await expect(verify(forged)).rejects.toMatchObject({ reason: 'signature' });
  });
});

describe('verifyAccessToken: who it is for and about', () => {
  test.each([{ jkt: 'x' }, { 'x5t#S256': 'x' }, {}, null])(
    'refused: bound by cnf %j',
    async (cnf) => {
      await expect(verify(jwtOf(ACCESS_TOKEN, { cnf }))).rejects.toEqual(refused('claim', 'cnf'));
    },
  );

  test.each([
    { name: 'missing', change: { client_id: undefined }, claim: 'client_id' },
    { name: 'a number', change: { client_id: 42, sub: 42 }, claim: 'client_id' },
    { name: 'an array', change: { client_id: ['t-42'] }, claim: 'client_id' },
    { name: 'with a slash', change: { client_id: 't/42', sub: 't/42' }, claim: 'client_id' },
    { name: 'a wildcard', change: { client_id: '+', sub: '+' }, claim: 'client_id' },
    { name: 'not the subject', change: { client_id: 't-43' }, claim: 'sub' },
    { name: 'without a subject', change: { sub: undefined }, claim: 'sub' },
    { name: 'with an array as subject', change: { sub: ['t-42'] }, claim: 'sub' },
  ])('refused: client_id $name', async ({ change, claim }) => {
    await expect(verify(jwtOf(ACCESS_TOKEN, change))).rejects.toEqual(refused('claim', claim));
  });

  test.each([
    { name: 'the resource', aud: AUDIENCE, ok: true },
    { name: 'an array with it', aud: ['https://other.example', AUDIENCE], ok: true },
    { name: 'missing', aud: undefined, ok: false },
    { name: 'another resource', aud: 'mqtts://other.example', ok: false },
    { name: 'the issuer', aud: ISSUER, ok: false },
    { name: 'a trailing slash', aud: `${AUDIENCE}/`, ok: false },
    { name: 'upper case', aud: AUDIENCE.toUpperCase(), ok: false },
    { name: 'an array without it', aud: ['https://other.example'], ok: false },
    { name: 'an empty array', aud: [], ok: false },
    { name: 'a nested array', aud: [[AUDIENCE]], ok: false },
    { name: 'an array with something else', aud: [AUDIENCE, 1], ok: false },
    { name: 'null', aud: null, ok: false },
    { name: 'an object', aud: { [AUDIENCE]: true }, ok: false },
  ])('aud $name: $ok', async ({ aud, ok }) => {
    const verdict = verify(jwtOf(ACCESS_TOKEN, { aud }));
    if (ok) await expect(verdict).resolves.toBeDefined();
    else await expect(verdict).rejects.toEqual(refused('audience', 'aud'));
  });

  test('a token for one broker is refused by another', async () => {
    const audience = parseResourceId('mqtts://broker-2.example');
    await expect(verify(jwtOf(ACCESS_TOKEN), { audience })).rejects.toEqual(
      refused('audience', 'aud'),
    );
  });
});

describe('verifyAccessToken: times', () => {
  const day = TOKEN_MAX_LIFETIME_SECONDS;
  const tolerance = TOKEN_CLOCK_TOLERANCE_SECONDS;
  test.each([
    { name: 'the last second', iat: NOW - 899, exp: NOW + 1, is: 'ok' },
    { name: 'exp itself', iat: NOW - 900, exp: NOW, is: 'expired' },
    { name: 'one second after exp', iat: NOW - 901, exp: NOW - 1, is: 'expired' },
    { name: 'one day', iat: NOW, exp: NOW + day, is: 'ok' },
    { name: 'one day and a second', iat: NOW, exp: NOW + day + 1, is: 'claim' },
    { name: 'no lifetime', iat: NOW + 10, exp: NOW + 10, is: 'claim' },
    { name: 'a negative lifetime', iat: NOW + 20, exp: NOW + 10, is: 'claim' },
    { name: 'iat ahead by the tolerance', iat: NOW + tolerance, exp: NOW + 900, is: 'ok' },
    {
      name: 'iat a second further ahead',
      iat: NOW + tolerance + 1,
      exp: NOW + 900,
      is: 'not-yet-valid',
    },
  ])('$name: $is', async ({ iat, exp, is }) => {
    const verdict = verify(jwtOf(ACCESS_TOKEN, { iat, exp }));
    if (is === 'ok')
      await expect(verdict).resolves.toMatchObject({ issuedAt: iat, expiresAt: exp });
    else await expect(verdict).rejects.toMatchObject({ reason: is });
  });

  test.each([
    { nbf: NOW + tolerance, is: 'ok' },
    { nbf: NOW + tolerance + 1, is: 'not-yet-valid' },
    { nbf: null, is: 'claim' },
  ])('nbf $nbf: $is', async ({ nbf, is }) => {
    const verdict = verify(jwtOf(ACCESS_TOKEN, { nbf }));
    if (is === 'ok') await expect(verdict).resolves.toBeDefined();
    else await expect(verdict).rejects.toMatchObject({ reason: is });
  });
});

describe('verifyAccessToken: scope', () => {
  test.each([{ scope: undefined }, { scope: '' }])('$scope is the empty set', async ({ scope }) => {
    const verified = await verify(jwtOf(ACCESS_TOKEN, { scope }));
    expect(verified.scope).toEqual({ topicScopes: [], plainScopes: [] });
  });

  test.each([
    null,
    7,
    ['pub:a'],
    {},
    'pub:',
    'pub;qos=3:a',
    'PUB:a',
    'pub:a  sub:b',
    ' pub:a',
    'pub:a ',
    'pub:a\nsub:b',
    'pub:a+',
    'pub:%2',
    'write;x:a',
  ])('a scope that cannot be read refuses the token: %j', async (scope) => {
    await expect(verify(jwtOf(ACCESS_TOKEN, { scope }))).rejects.toEqual(refused('scope', 'scope'));
  });
});

describe('verifyOwnToken', () => {
  const verifyOwn = (text: string, options: object = {}) =>
    verifyOwnToken(text, { issuer: ISSUER, now: NOW, findKey: () => KEY.publicKey, ...options });

  test('tells which resource the token is for', async () => {
    await expect(verifyOwn(jwtOf(ACCESS_TOKEN, { aud: 'https://a.example' }))).resolves.toEqual({
      ...(await verify(jwtOf(ACCESS_TOKEN))),
      audience: 'https://a.example',
    });
  });

  test.each([
    { name: 'no audience', change: { aud: undefined }, reason: 'claim' },
    { name: 'two audiences', change: { aud: [AUDIENCE, 'https://a.example'] }, reason: 'claim' },
    { name: 'an audience that is no URI', change: { aud: 'broker' }, reason: 'claim' },
    { name: 'another issuer', change: { iss: 'https://evil.example' }, reason: 'issuer' },
    { name: 'a scope that cannot be read', change: { scope: 'pub:' }, reason: 'scope' },
    { name: 'expired', change: { iat: NOW - 900, exp: NOW }, reason: 'expired' },
  ])('refused: $name', async ({ change, reason }) => {
    await expect(verifyOwn(jwtOf(ACCESS_TOKEN, change))).rejects.toMatchObject({ reason });
  });

  test('refused: signed by another key', async () => {
    await expect(verifyOwn(jwtOf(ACCESS_TOKEN, {}, OTHER_KEY))).rejects.toMatchObject({
      reason: 'signature',
    });
  });
});

test('an access token signed by OpenSSL is accepted', async () => {
  const key = importPublicJwk(openssl.jwk as PublicJwk);
  const verified = await verify(openssl.accessToken, { findKey: () => key, now: 1_760_000_899 });
  expect(verified).toMatchObject({ clientId: 't-42', kid: openssl.thumbprint });
  expect(formatScope(verified.scope)).toBe(
    'pub:devices/t-42/telemetry/# sub:devices/t-42/commands/+',
  );
  await expect(
    verify(openssl.accessToken, { findKey: () => key, now: 1_760_000_900 }),
  ).rejects.toMatchObject({ reason: 'expired' });
});
