import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import {
  createIssuerSigner,
  fitsAlgorithm,
  generateIssuerKey,
  type IssuerKey,
  importIssuerJwk,
  importIssuerPem,
  type JwtError,
  parseClientId,
  parseIssuer,
  parseResourceId,
  signAccessToken,
  TOKEN_ALGORITHMS,
  type TokenAlgorithm,
  verifyAccessToken,
} from '@latchkey/shared';
import { calculateJwkThumbprint, importJWK, jwtVerify } from 'jose';
import { describe, expect, test } from 'vitest';
import rsa from '../vectors/rfc7638-3.1-rsa.json' with { type: 'json' };

const NOW = 1_760_000_000;
const ISSUER = parseIssuer('https://id.example');
const AUDIENCE = parseResourceId('mqtts://broker.example');
const KEYS = new Map(
  await Promise.all(
    TOKEN_ALGORITHMS.map(async (alg) => [alg, await generateIssuerKey(alg)] as const),
  ),
);
const keyOf = (alg: TokenAlgorithm) => KEYS.get(alg)!;
const tokenOf = (alg: TokenAlgorithm) =>
  signAccessToken(createIssuerSigner(keyOf(alg)), {
    ...{ issuer: ISSUER, clientId: parseClientId('t-42'), audience: AUDIENCE, issuedAt: NOW },
    ...{ expiresAt: NOW + 60, jti: '0123456789abcdef', scope: '' },
  });
const verify = (token: string, key: IssuerKey, algorithms?: readonly TokenAlgorithm[]) =>
  verifyAccessToken(token, {
    ...{ issuer: ISSUER, audience: AUDIENCE, now: NOW, findKey: () => key },
    ...(algorithms && { algorithms }),
  });
const pemOf = (type: 'rsa' | 'ec', options: object) =>
  generateKeyPairSync(type as 'rsa', {
    modulusLength: 2048,
    ...options,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });

describe.each(TOKEN_ALGORITHMS)('%s', (alg) => {
  test('a token verifies here and with jose', async () => {
    const token = await tokenOf(alg);
    const { publicKey } = keyOf(alg);
    expect(await verify(token, publicKey, TOKEN_ALGORITHMS)).toMatchObject({ clientId: 't-42' });
    const { payload, protectedHeader } = await jwtVerify(
      token,
      await importJWK({ ...publicKey.jwk }, alg),
      {
        ...{ algorithms: [alg], currentDate: new Date(NOW * 1000) },
      },
    );
    expect(payload.sub).toBe('t-42');
    expect(protectedHeader).toEqual({ alg, typ: 'at+jwt', kid: publicKey.kid });
  });

  test('the kid is the thumbprint that jose calculates', async () => {
    const { kid, jwk } = keyOf(alg).publicKey;
    expect(kid).toBe(await calculateJwkThumbprint({ ...jwk }));
  });

  test('a key comes back from its JWK and from its PEM', () => {
    const { publicKey, keyObject } = keyOf(alg);
    const again = importIssuerJwk(alg, { ...publicKey.jwk, kid: 'x', use: 'sig', alg });
    expect({ kid: again.kid, jwk: again.jwk }).toEqual({ kid: publicKey.kid, jwk: publicKey.jwk });
    const pem = keyObject.export({ type: 'pkcs8', format: 'pem' }).toString();
    expect(importIssuerPem(alg, pem).publicKey.kid).toBe(publicKey.kid);
  });

  test('a verifier that does not allow it refuses', async () => {
    const others = TOKEN_ALGORITHMS.filter((other) => other !== alg);
    await expect(verify(await tokenOf(alg), keyOf(alg).publicKey, others)).rejects.toMatchObject({
      reason: expect.stringMatching(/^(algorithm|malformed)$/),
    } satisfies Partial<Record<keyof JwtError, unknown>>);
  });

  test('a key of another kind is refused whatever the header says', async () => {
    const family = (name: string) => (name === 'Ed25519' ? 'EdDSA' : name);
    for (const other of TOKEN_ALGORITHMS.filter((name) => family(name) !== family(alg))) {
      expect(fitsAlgorithm(alg, keyOf(other).publicKey.keyObject)).toBe(false);
      const refused = verify(await tokenOf(alg), keyOf(other).publicKey, TOKEN_ALGORITHMS);
      await expect(refused).rejects.toMatchObject({ reason: 'key' });
      const pem = keyOf(other).keyObject.export({ type: 'pkcs8', format: 'pem' }).toString();
      expect(() => importIssuerPem(alg, pem)).toThrow(/is not an? .+ key/);
      expect(() => importIssuerJwk(alg, keyOf(other).publicKey.jwk)).toThrow(/^public key /);
    }
  });

  test('a signature of another token is refused', async () => {
    const [one, two] = [await tokenOf(alg), await tokenOf(alg)].map((token) => token.split('.'));
    const mixed = [one?.[0], `${one?.[1]?.slice(0, -4)}AAAA`, two?.[2]].join('.');
    await expect(verify(mixed, keyOf(alg).publicKey, TOKEN_ALGORITHMS)).rejects.toMatchObject({
      name: 'JwtError',
    });
  });
});

test('without a word from the verifier only Ed25519 is allowed', async () => {
  expect(await verify(await tokenOf('EdDSA'), keyOf('EdDSA').publicKey)).toBeDefined();
  expect(await verify(await tokenOf('Ed25519'), keyOf('Ed25519').publicKey)).toBeDefined();
  await expect(verify(await tokenOf('ES256'), keyOf('ES256').publicKey)).rejects.toMatchObject({
    reason: 'algorithm',
  });
  // Its signature is longer than any that is allowed.
  await expect(verify(await tokenOf('RS256'), keyOf('RS256').publicKey)).rejects.toMatchObject({
    reason: 'malformed',
  });
});

test('ES256 signatures are r and s side by side, 64 bytes (RFC 7518 3.4)', async () => {
  for (let i = 0; i < 20; i += 1) {
    const signature = await createIssuerSigner(keyOf('ES256')).sign(Buffer.from([i]));
    expect(signature).toHaveLength(64);
  }
});

test('RFC 7638 3.1: the thumbprint of the RSA key', () => {
  expect(importIssuerJwk('RS256', rsa.jwk).kid).toBe(rsa.thumbprint);
});

describe('a public key is refused', () => {
  const ec = keyOf('ES256').publicKey.jwk as { x: string; y: string };
  const rs = keyOf('RS256').publicKey.jwk as { n: string };
  const rsaJwk = (bits: number) =>
    createPublicKey(pemOf('rsa', { modulusLength: bits }).publicKey).export({ format: 'jwk' });

  test.each<{ name: string; alg: TokenAlgorithm; jwk: unknown }>([
    { name: 'nothing', alg: 'ES256', jwk: undefined },
    { name: 'EC without y', alg: 'ES256', jwk: { kty: 'EC', crv: 'P-256', x: ec.x } },
    { name: 'EC on another curve', alg: 'ES256', jwk: { ...ec, crv: 'secp256k1' } },
    {
      name: 'EC with a short x',
      alg: 'ES256',
      jwk: { ...ec, x: Buffer.alloc(31).toString('base64url') },
    },
    {
      name: 'EC with a long y',
      alg: 'ES256',
      jwk: { ...ec, y: Buffer.alloc(33).toString('base64url') },
    },
    { name: 'EC with another spelling of x', alg: 'ES256', jwk: { ...ec, x: `${ec.x}=` } },
    { name: 'EC that is not on the curve', alg: 'ES256', jwk: { ...ec, y: ec.x } },
    { name: 'EC at infinity', alg: 'ES256', jwk: { ...ec, x: 'A'.repeat(43), y: 'A'.repeat(43) } },
    { name: 'RSA of 1024 bits', alg: 'RS256', jwk: rsaJwk(1024) },
    { name: 'RSA of 2040 bits', alg: 'RS256', jwk: rsaJwk(2040) },
    {
      name: 'RSA whose leading byte is zero',
      alg: 'RS256',
      jwk: {
        ...rs,
        n: Buffer.concat([Buffer.alloc(1), Buffer.from(rsaJwk(2040).n!, 'base64url')]).toString(
          'base64url',
        ),
      },
    },
    {
      name: 'RSA of 4104 bits',
      alg: 'RS256',
      jwk: { ...rs, n: Buffer.alloc(513, 0xff).toString('base64url') },
    },
    { name: 'RSA with exponent 3', alg: 'RS256', jwk: { ...rs, e: 'Aw' } },
    { name: 'RSA with exponent 1', alg: 'RS256', jwk: { ...rs, e: 'AQ' } },
    { name: 'RSA with a longer exponent', alg: 'RS256', jwk: { ...rs, e: 'AAEAAQ' } },
    { name: 'RSA without n', alg: 'RS256', jwk: { kty: 'RSA', e: 'AQAB' } },
    {
      name: 'a weak Ed25519 point',
      alg: 'EdDSA',
      jwk: { kty: 'OKP', crv: 'Ed25519', x: 'A'.repeat(43) },
    },
  ])('$name', ({ alg, jwk }) => {
    expect(() => importIssuerJwk(alg, jwk)).toThrow(
      expect.objectContaining({ name: 'FormatError', field: 'public key' }),
    );
  });
});

describe('a private key is refused', () => {
  test.each<{ name: string; alg: TokenAlgorithm; pem: string }>([
    { name: 'no PEM', alg: 'ES256', pem: 'x' },
    { name: 'a public key', alg: 'ES256', pem: pemOf('ec', { namedCurve: 'P-256' }).publicKey },
    { name: 'P-384', alg: 'ES256', pem: pemOf('ec', { namedCurve: 'P-384' }).privateKey },
    {
      name: 'RSA of 1024 bits',
      alg: 'RS256',
      pem: pemOf('rsa', { modulusLength: 1024 }).privateKey,
    },
  ])('$name', ({ alg, pem }) => {
    const refusal = { name: 'FormatError', field: 'private key' };
    expect(() => importIssuerPem(alg, pem)).toThrow(expect.objectContaining(refusal));
    try {
      importIssuerPem(alg, pem, 'key file');
    } catch (error) {
      expect((error as Error).message).not.toContain(pem.split('\n')[1] ?? 'PRIVATE');
    }
  });
});
