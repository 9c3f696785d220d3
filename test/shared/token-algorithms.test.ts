/** What tokens of other authorization servers are signed with: PS256 and ES384 beside ours. */
import { constants, generateKeyPairSync, sign } from 'node:crypto';
import {
  generateIssuerKey,
  importIssuerJwk,
  isSameAlgorithm,
  TOKEN_ALGORITHMS,
  VERIFYING_ALGORITHMS,
  type VerifyingAlgorithm,
  type VerifyingKey,
  verifyAccessToken,
} from '@latchkey/shared';
import { SignJWT } from 'jose';
import { describe, expect, test } from 'vitest';
import { ACCESS_TOKEN, AUDIENCE, ISSUER, NOW } from '../helpers/jwts.ts';

const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const rsaJwk = publicKey.export({ format: 'jwk' });

const signed = (alg: string): Promise<string> =>
  new SignJWT({ ...ACCESS_TOKEN.claims })
    .setProtectedHeader({ alg, typ: 'at+jwt' })
    .sign(privateKey);
const verify = (
  text: string,
  keyAlg: VerifyingAlgorithm,
  algorithms: readonly VerifyingAlgorithm[] = ['RS256', 'PS256'],
) =>
  verifyAccessToken(text, {
    ...{ issuer: ISSUER, audience: AUDIENCE, now: NOW, algorithms },
    findKey: () => importIssuerJwk(keyAlg, rsaJwk),
  });

describe('PS256', () => {
  test('a token that jose signed verifies', async () => {
    expect(await verify(await signed('PS256'), 'PS256')).toMatchObject({ clientId: 't-42' });
  });

  test('it is for verifying others only: we sign with none of it', () => {
    expect(TOKEN_ALGORITHMS).not.toContain('PS256');
    expect(VERIFYING_ALGORITHMS).toEqual([...TOKEN_ALGORITHMS, 'ES384', 'PS256']);
  });

  test.each<{ name: string; alg: string; keyAlg: VerifyingAlgorithm }>([
    { name: 'an RS256 token and a key for PS256', alg: 'RS256', keyAlg: 'PS256' },
    { name: 'a PS256 token and a key for RS256', alg: 'PS256', keyAlg: 'RS256' },
  ])('RFC 8725 3.1: $name do not fit, though the key is the same', async ({ alg, keyAlg }) => {
    await expect(verify(await signed(alg), keyAlg)).rejects.toMatchObject({ reason: 'key' });
  });

  test.each(['PS384', 'PS512', 'RS384', 'RS512'])('%s is not it', async (alg) => {
    await expect(verify(await signed(alg), 'PS256')).rejects.toMatchObject({ reason: 'algorithm' });
  });

  test('an RS256 signature under the name PS256 is refused', async () => {
    const [header, claims, signature] = (await signed('RS256')).split('.') as [
      string,
      string,
      string,
    ];
    const renamed = Buffer.from(
      Buffer.from(header, 'base64url').toString().replace('RS256', 'PS256'),
    ).toString('base64url');
    const refused = verify(`${renamed}.${claims}.${signature}`, 'PS256');
    await expect(refused).rejects.toMatchObject({ reason: 'signature' });
  });

  test('a salt of another length is refused (RFC 7518 3.5)', async () => {
    const encoded = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url');
    const input = `${encoded({ alg: 'PS256', typ: 'at+jwt' })}.${encoded({ ...ACCESS_TOKEN.claims })}`;
    const token = (saltLength: number) => {
      const key = { key: privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength };
      return `${input}.${sign('sha256', Buffer.from(input), key).toString('base64url')}`;
    };
    expect(await verify(token(32), 'PS256')).toBeDefined();
    for (const saltLength of [0, 20, 31, 33, 222]) {
      await expect(verify(token(saltLength), 'PS256')).rejects.toMatchObject({
        reason: 'signature',
      });
    }
  });

  test('an RSA key below 2048 bits is refused', () => {
    const short = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey;
    expect(() => importIssuerJwk('PS256', short.export({ format: 'jwk' }))).toThrow(/2048/);
  });

  test('without a key it is refused as any other', async () => {
    const refused = verifyAccessToken(await signed('PS256'), {
      ...{ issuer: ISSUER, audience: AUDIENCE, now: NOW, algorithms: ['PS256'] },
      findKey: () => undefined,
    });
    await expect(refused).rejects.toMatchObject({ reason: 'key' });
  });
});

test('ES384: a token that jose signed verifies, and only with a key on P-384', async () => {
  const pairOn = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve });
  const p384 = pairOn('P-384');
  const token = await new SignJWT({ ...ACCESS_TOKEN.claims })
    .setProtectedHeader({ alg: 'ES384', typ: 'at+jwt' })
    .sign(p384.privateKey);
  const key = importIssuerJwk('ES384', p384.publicKey.export({ format: 'jwk' }));
  const verified = (findKey: () => VerifyingKey, algorithms = VERIFYING_ALGORITHMS) =>
    verifyAccessToken(token, {
      ...{ issuer: ISSUER, audience: AUDIENCE, now: NOW, algorithms, findKey },
    });
  expect(await verified(() => key)).toMatchObject({ clientId: 't-42' });
  const p256 = pairOn('P-256').publicKey;
  await expect(verified(() => ({ keyObject: p256 }))).rejects.toMatchObject({ reason: 'key' });
  expect(() => importIssuerJwk('ES384', p256.export({ format: 'jwk' }))).toThrow(/P-384/);
  expect(() => importIssuerJwk('ES256', { ...key.jwk })).toThrow(/P-256/);
});

test('EdDSA and Ed25519 are two names of one algorithm, and nothing else is', () => {
  for (const one of VERIFYING_ALGORITHMS) {
    for (const other of VERIFYING_ALGORITHMS) {
      const names = [one, other].map((name) => (name === 'Ed25519' ? 'EdDSA' : name));
      expect(isSameAlgorithm(one, other)).toBe(names[0] === names[1]);
    }
  }
});

test('a key for ES256 does not verify what a key of another kind signed', async () => {
  const { publicKey: ec } = await generateIssuerKey('ES256');
  const refused = verifyAccessToken(await signed('RS256'), {
    ...{ issuer: ISSUER, audience: AUDIENCE, now: NOW, algorithms: VERIFYING_ALGORITHMS },
    findKey: () => ec,
  });
  await expect(refused).rejects.toMatchObject({ reason: 'key' });
});
