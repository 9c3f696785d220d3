/** Access tokens of other authorization servers: RFC 9068 4, RFC 8725 3. */
import {
  type JwtError,
  parseJwt,
  type ThirdPartyTokenRules,
  verifyThirdPartyToken,
} from '@latchkey/shared';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { KEY, NOW, type Part, signedJwt } from '../helpers/jwts.ts';

const RULES: ThirdPartyTokenRules = {
  issuer: 'https://tenant.example/',
  audience: 'mqtt',
  algorithms: ['EdDSA'],
  types: ['at+jwt'],
  maxLifetimeSeconds: 3600,
  requiredClaims: new Map(),
};
const CLAIMS = { iss: RULES.issuer, sub: 'x', aud: 'mqtt', iat: NOW, exp: NOW + 60 };

const tokenOf = (claims: object = {}, header: object = {}): string =>
  signedJwt(
    { alg: 'EdDSA', typ: 'at+jwt', kid: 'k', ...header },
    JSON.parse(JSON.stringify({ ...CLAIMS, ...claims })),
  );
const verify = async (text: unknown, rules: Partial<ThirdPartyTokenRules> = {}, now = NOW) =>
  verifyThirdPartyToken(parseJwt(text), {
    ...{ ...RULES, ...rules, now },
    findKey: (kid) => (kid === 'k' ? KEY.publicKey : undefined),
  });

test('what a good token says comes back, its other claims untouched', async () => {
  const token = tokenOf({ jti: 'j', roles: ['a'], deep: { er: 1 } });
  expect(await verify(token)).toEqual({
    ...{ jti: 'j', kid: 'k', issuedAt: NOW, expiresAt: NOW + 60 },
    claims: { ...CLAIMS, jti: 'j', roles: ['a'], deep: { er: 1 } },
  });
});

test('neither jti nor client_id is needed', async () => {
  expect(await verify(tokenOf())).toMatchObject({ jti: undefined });
});

describe('types', () => {
  test.each([
    { types: ['at+jwt'], typ: 'at+jwt', ok: true },
    { types: ['at+jwt'], typ: 'application/at+jwt', ok: true },
    { types: ['at+jwt'], typ: 'AT+JWT', ok: false },
    { types: ['at+jwt'], typ: 'JWT', ok: false },
    { types: ['at+jwt'], typ: undefined, ok: false },
    { types: ['JWT'], typ: 'JWT', ok: true },
    { types: ['JWT'], typ: 'jwt', ok: false },
    { types: ['JWT'], typ: 'at+jwt', ok: false },
    { types: ['JWT'], typ: undefined, ok: false },
    { types: ['absent'], typ: undefined, ok: true },
    { types: ['absent'], typ: 'absent', ok: false },
    { types: ['absent'], typ: null, ok: false },
    { types: ['JWT', 'absent'], typ: 'secevent+jwt', ok: false },
  ] as const)('$types: typ $typ is accepted: $ok', async ({ types, typ, ok }) => {
    const verified = verify(tokenOf({}, { typ }), { types });
    if (ok) await expect(verified).resolves.toBeDefined();
    else await expect(verified).rejects.toMatchObject({ reason: 'type' });
  });
});

test.each<{ name: string; claims: object; reason: JwtError['reason']; now?: number }>([
  { name: 'another issuer', claims: { iss: 'https://tenant.example' }, reason: 'issuer' },
  { name: 'a list of issuers', claims: { iss: [RULES.issuer] }, reason: 'issuer' },
  { name: 'no sub', claims: { sub: undefined }, reason: 'claim' },
  { name: 'an empty sub', claims: { sub: '' }, reason: 'claim' },
  { name: 'another audience', claims: { aud: 'mqtt2' }, reason: 'audience' },
  { name: 'an empty list of audiences', claims: { aud: [] }, reason: 'audience' },
  { name: 'a nested audience', claims: { aud: [['mqtt']] }, reason: 'audience' },
  { name: 'no exp', claims: { exp: undefined }, reason: 'claim' },
  { name: 'exp at iat', claims: { exp: NOW }, reason: 'claim' },
  { name: 'exp a second beyond the most', claims: { exp: NOW + 3601 }, reason: 'claim' },
  { name: 'exp reached', claims: {}, now: NOW + 60, reason: 'expired' },
  { name: 'iat beyond the tolerance', claims: {}, now: NOW - 61, reason: 'not-yet-valid' },
  { name: 'nbf beyond the tolerance', claims: { nbf: NOW + 61 }, reason: 'not-yet-valid' },
  { name: 'nbf as text', claims: { nbf: 'now' }, reason: 'claim' },
  { name: 'an empty jti', claims: { jti: '' }, reason: 'claim' },
  { name: 'a jti of 256 characters', claims: { jti: 'a'.repeat(256) }, reason: 'claim' },
  { name: 'a jti with a blank', claims: { jti: 'a b' }, reason: 'claim' },
])('refused: $name', async ({ claims, reason, now }) => {
  await expect(verify(tokenOf(claims), {}, now)).rejects.toMatchObject({ reason });
});

test.each<{ name: string; claims: object; now?: number }>([
  { name: 'exp at the most', claims: { exp: NOW + 3600 } },
  { name: 'the last second', claims: {}, now: NOW + 59 },
  { name: 'iat within the tolerance', claims: {}, now: NOW - 60 },
  { name: 'one audience of many', claims: { aud: ['a', 'mqtt'] } },
  { name: 'a jti of 255 characters', claims: { jti: 'a'.repeat(255) } },
])('accepted: $name', async ({ claims, now }) => {
  await expect(verify(tokenOf(claims), {}, now)).resolves.toBeDefined();
});

test.each([
  { name: 'missing', claims: {} },
  { name: 'another value', claims: { gty: 'password' } },
  { name: 'a list that holds it', claims: { gty: ['client-credentials'] } },
  { name: 'what every object has', claims: {}, required: 'toString' },
])('a required claim is refused: $name', async ({ claims, required = 'gty' }) => {
  const requiredClaims = new Map([[required, 'client-credentials']]);
  await expect(verify(tokenOf(claims), { requiredClaims })).rejects.toMatchObject({
    ...{ reason: 'claim', claim: required },
  });
});

test('every required claim is required', async () => {
  const requiredClaims = new Map([
    ['gty', 'client-credentials'],
    ['tier', 'device'],
  ]);
  const both = { gty: 'client-credentials', tier: 'device' };
  expect(await verify(tokenOf(both), { requiredClaims })).toBeDefined();
  await expect(verify(tokenOf({ ...both, tier: 'app' }), { requiredClaims })).rejects.toMatchObject(
    { claim: 'tier' },
  );
});

test('a token of another issuer makes nobody look for a key', async () => {
  const findKey = () => {
    throw new Error('looked');
  };
  const refused = verifyThirdPartyToken(parseJwt(tokenOf({ iss: 'https://x' })), {
    ...RULES,
    now: NOW,
    findKey,
  });
  await expect(refused).rejects.toMatchObject({ reason: 'issuer' });
});

test('what is wrong with a claim is told only of a token that is signed', async () => {
  const [header, , signature] = tokenOf().split('.');
  const claims = Buffer.from(JSON.stringify({ ...CLAIMS, aud: 'other', nonce: 'x' }));
  const forged = `${header}.${claims.toString('base64url')}.${signature}`;
  await expect(verify(forged)).rejects.toMatchObject({ reason: 'signature' });
});

test('any claims at all: verified, or refused with a JwtError and no other error', async () => {
  const value = fc.oneof(fc.jsonValue(), fc.constantFrom(...Object.values(CLAIMS)));
  const names = [...Object.keys(CLAIMS), 'jti', 'nbf', 'typ', 'cnf', 'nonce', '__proto__'];
  await fc.assert(
    fc.asyncProperty(fc.dictionary(fc.constantFrom(...names), value), async (claims) => {
      const part: Part = JSON.stringify({ ...CLAIMS, ...claims });
      const token = signedJwt({ alg: 'EdDSA', typ: 'at+jwt', kid: 'k' }, part);
      const outcome = await verify(token).catch((error: unknown) => error);
      if (outcome instanceof Error) expect(outcome.name).toBe('JwtError');
      else expect(outcome).toMatchObject({ expiresAt: expect.any(Number) });
    }),
    { numRuns: 300 },
  );
});
