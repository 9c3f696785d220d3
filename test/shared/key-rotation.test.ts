import {
  createKeySigner,
  generateKey,
  type PublicKey,
  parseClientId,
  parseIssuer,
  signAssertion,
  signKeyRotation,
  verifyKeyRotation,
} from '@latchkey/shared';
import { describe, expect, test } from 'vitest';
import {
  CLIENT_ID,
  ISSUER,
  jwtOf,
  KEY,
  NOW,
  OTHER_KEY,
  signedJwt,
  VOUCHER,
} from '../helpers/jwts.ts';
import weak from '../vectors/rfc8032-5.1.3-weak-public-keys.json' with { type: 'json' };

const NEW_KEY = OTHER_KEY;
const [oldSigner, newSigner] = [createKeySigner(KEY), createKeySigner(NEW_KEY)];
const request = { oldSigner, newSigner, issuer: ISSUER, clientId: CLIENT_ID, now: NOW };
const verify = (
  rotation: { voucher: unknown; proof: unknown },
  key: PublicKey | undefined = KEY.publicKey,
  now = NOW,
) => verifyKeyRotation(rotation, { issuer: ISSUER, now, findKey: async () => key });
const refused = (reason: string, claim?: string) =>
  expect.objectContaining({ name: 'JwtError', reason, claim });
const malformed = (field: string) => expect.objectContaining({ name: 'FormatError', field });

/** A voucher that the old key signed, whatever it says, with a good proof of the new key. */
async function vouching(confirmation: unknown) {
  const voucher = jwtOf(VOUCHER, { cnf: confirmation });
  const { proof } = await proofFor(voucher);
  return { voucher, proof };
}
const proofFor = async (voucher: string, changes: object = {}, key = NEW_KEY, typ?: string) => {
  const { createHash } = await import('node:crypto');
  const voucher_hash = createHash('sha256').update(voucher).digest('base64url');
  const claims = { iss: CLIENT_ID, sub: CLIENT_ID, aud: ISSUER, voucher_hash, ...changes };
  const header = { alg: 'EdDSA', typ: typ ?? 'key-rotation-proof+jwt', kid: key.publicKey.kid };
  return { proof: signedJwt(header, claims, key) };
};

test('what the two keys sign is taken: the old key vouches, the new one is held', async () => {
  const { assertion, newKey } = await verify(await signKeyRotation(request));
  expect(newKey.kid).toBe(NEW_KEY.publicKey.kid);
  expect(assertion).toMatchObject({
    clientId: CLIENT_ID,
    kid: KEY.publicKey.kid,
    rememberUntil: NOW + 180,
  });
});

test('each request has a voucher of its own', async () => {
  const [a, b] = [await signKeyRotation(request), await signKeyRotation(request)];
  expect(a.voucher).not.toBe(b.voucher);
});

describe('refused', () => {
  test('a voucher whose key is not that of the client', async () => {
    await expect(verify(await signKeyRotation(request), undefined)).resolves.toBeDefined();
    const rotation = await signKeyRotation(request);
    await expect(verify(rotation, generateKey().publicKey)).rejects.toEqual(refused('signature'));
    const nobody = verifyKeyRotation(rotation, {
      ...{ issuer: ISSUER, now: NOW },
      findKey: async () => undefined,
    });
    await expect(nobody).rejects.toEqual(refused('key'));
  });

  test.each([
    { name: 'is old', now: NOW + 180, reason: 'expired', claim: 'exp' },
    { name: 'is of the future', now: NOW - 121, reason: 'not-yet-valid', claim: 'iat' },
  ])('a voucher that $name', async ({ now, reason, claim }) => {
    const rotation = await signKeyRotation(request);
    await expect(verify(rotation, KEY.publicKey, now)).rejects.toMatchObject({ reason, claim });
  });

  test('a voucher for another authority', async () => {
    const rotation = await signKeyRotation({
      ...request,
      issuer: parseIssuer('https://other.example'),
    });
    await expect(verify(rotation)).rejects.toEqual(refused('audience', 'aud'));
  });

  test.each(['grant', 'client-authentication'] as const)(
    'an assertion for %s in place of a voucher',
    async (use) => {
      const voucher = await signAssertion(oldSigner, {
        ...{ clientId: CLIENT_ID, issuer: ISSUER, now: NOW, use },
        vouchedJwk: NEW_KEY.publicKey.jwk,
      });
      await expect(verify({ voucher, ...(await proofFor(voucher)) })).rejects.toEqual(
        refused('type', 'typ'),
      );
    },
  );

  const { jwk } = NEW_KEY.publicKey;
  test.each([
    { name: 'none', cnf: undefined, field: 'voucher' },
    { name: 'a null', cnf: null, field: 'voucher' },
    { name: 'a text', cnf: 'jwk', field: 'voucher' },
    { name: 'a thumbprint', cnf: { jkt: NEW_KEY.publicKey.kid }, field: 'voucher' },
    { name: 'a key and more', cnf: { jwk, kid: 'x' }, field: 'voucher' },
    { name: 'a private key', cnf: { jwk: { ...jwk, d: jwk.x } }, field: 'new key' },
    { name: 'a key of X25519', cnf: { jwk: { ...jwk, crv: 'X25519' } }, field: 'new key' },
    { name: 'the old key', cnf: { jwk: KEY.publicKey.jwk }, field: 'new key' },
  ])('a confirmation that is $name', async ({ cnf, field }) => {
    await expect(verify(await vouching(cnf))).rejects.toEqual(malformed(field));
  });

  test('I9: no weak key is taken', async () => {
    for (const hex of [...weak.lowOrder, ...weak.nonCanonical, ...weak.mixedOrder]) {
      const x = Buffer.from(hex, 'hex').toString('base64url');
      const rotation = await vouching({ jwk: { kty: 'OKP', crv: 'Ed25519', x } });
      await expect(verify(rotation)).rejects.toEqual(malformed('new key'));
    }
  });

  test.each([
    { name: 'signed by the old key', changes: {}, key: KEY, reason: 'signature' },
    { name: 'signed by a third key', changes: {}, key: generateKey(), reason: 'signature' },
    { name: 'of another client', changes: { sub: 't-43' }, reason: 'claim', claim: 'sub' },
    { name: 'by another client', changes: { iss: 't-43' }, reason: 'claim', claim: 'iss' },
    { name: 'for another authority', changes: { aud: 'x' }, reason: 'claim', claim: 'aud' },
    {
      name: 'for another voucher',
      changes: { voucher_hash: 'x' },
      reason: 'claim',
      claim: 'voucher_hash',
    },
    {
      name: 'for none',
      changes: { voucher_hash: undefined },
      reason: 'claim',
      claim: 'voucher_hash',
    },
  ])('a proof $name', async ({ changes, key, reason, claim }) => {
    const { voucher } = await signKeyRotation(request);
    const { proof } = await proofFor(voucher, changes, key);
    await expect(verify({ voucher, proof })).rejects.toEqual(refused(reason, claim));
  });

  test('a proof of another type, or none', async () => {
    const { voucher } = await signKeyRotation(request);
    const { proof } = await proofFor(voucher, {}, NEW_KEY, 'enrollment-proof+jwt');
    await expect(verify({ voucher, proof })).rejects.toEqual(refused('type', 'typ'));
    await expect(verify({ voucher, proof: undefined })).rejects.toEqual(refused('malformed'));
    await expect(verify({ voucher, proof: voucher })).rejects.toEqual(refused('type', 'typ'));
  });

  test('the proof of one voucher with another', async () => {
    const [a, b] = [await signKeyRotation(request), await signKeyRotation(request)];
    await expect(verify({ voucher: a.voucher, proof: b.proof })).rejects.toEqual(
      refused('claim', 'voucher_hash'),
    );
  });

  test('a voucher of another client with a proof for it, by the key of neither', async () => {
    const rotation = await signKeyRotation({ ...request, clientId: parseClientId('t-43') });
    const findKey = async (id: string) => (id === CLIENT_ID ? KEY.publicKey : undefined);
    await expect(
      verifyKeyRotation(rotation, { issuer: ISSUER, now: NOW, findKey }),
    ).rejects.toEqual(refused('key'));
  });
});
