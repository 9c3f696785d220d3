import {
  createKeySigner,
  ENROLLMENT_PROOF_TOLERANCE_SECONDS,
  hashEnrollmentCode,
  newEnrollmentCode,
  parseClientId,
  parseEnrollmentCode,
  parseIssuer,
  signEnrollmentProof,
  verifyEnrollmentProof,
} from '@latchkey/shared';
import { describe, expect, test } from 'vitest';
import {
  CLIENT_ID,
  ENROLLMENT_CODE,
  ENROLLMENT_PROOF,
  ISSUER,
  jwtOf,
  KEY,
  NOW,
  OTHER_KEY,
} from '../helpers/jwts.ts';

const signer = createKeySigner(KEY);
const request = { issuer: ISSUER, clientId: CLIENT_ID, enrollmentCode: ENROLLMENT_CODE, now: NOW };

describe('enrollment codes', () => {
  test('are 128 random bits with a prefix, and can be parsed', () => {
    const codes = Array.from({ length: 1000 }, newEnrollmentCode);
    expect(new Set(codes).size).toBe(1000);
    for (const code of codes) expect(parseEnrollmentCode(code)).toBe(code);
  });

  test.each([
    { name: 'missing', value: undefined },
    { name: 'a number', value: 7 },
    { name: 'an array', value: [ENROLLMENT_CODE] },
    { name: 'empty', value: '' },
    { name: 'without prefix', value: 'A'.repeat(22) },
    { name: 'with the prefix in upper case', value: `LKE_${'A'.repeat(22)}` },
    { name: 'one character short', value: ENROLLMENT_CODE.slice(0, -1) },
    { name: 'one character long', value: `${ENROLLMENT_CODE}A` },
    { name: 'with a newline', value: `${ENROLLMENT_CODE}\n` },
    { name: 'with padding', value: `${ENROLLMENT_CODE.slice(0, -2)}==` },
    { name: 'SQL', value: "lke_' OR 1=1 --AAAAAAAAA" },
  ])('refused and not echoed: $name', ({ value }) => {
    expect(() => parseEnrollmentCode(value, 'code')).toThrow(
      expect.objectContaining({
        name: 'FormatError',
        field: 'code',
        message: expect.not.stringContaining('AAAAAAAA'),
      }),
    );
  });

  test('the hash is SHA-256 in base64url', () => {
    expect(hashEnrollmentCode('abc')).toBe('ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0');
  });
});

describe('the enrollment proof', () => {
  test('verifies with the key that is being registered', async () => {
    const proof = await signEnrollmentProof(signer, request);
    await expect(verifyEnrollmentProof(proof, KEY.publicKey, request)).resolves.toBeUndefined();
  });

  test('holds the hash of the code and never the code', async () => {
    const proof = await signEnrollmentProof(signer, request);
    const payload = Buffer.from(proof.split('.')[1] as string, 'base64url').toString();
    expect(payload).not.toContain(ENROLLMENT_CODE);
    expect(JSON.parse(payload)).toMatchObject({ code_hash: hashEnrollmentCode(ENROLLMENT_CODE) });
  });

  test.each([
    { name: 'another key', change: {}, key: OTHER_KEY, reason: 'signature' },
    {
      name: 'another client',
      change: { clientId: parseClientId('t-43') },
      key: KEY,
      reason: 'claim',
    },
    {
      name: 'another issuer',
      change: { issuer: parseIssuer('https://evil.example') },
      key: KEY,
      reason: 'claim',
    },
    {
      name: 'another code',
      change: { enrollmentCode: newEnrollmentCode() },
      key: KEY,
      reason: 'claim',
    },
  ])('does not verify with $name', async ({ change, key, reason }) => {
    const proof = await signEnrollmentProof(signer, request);
    await expect(
      verifyEnrollmentProof(proof, key.publicKey, { ...request, ...change }),
    ).rejects.toMatchObject({ name: 'JwtError', reason });
  });

  test.each([
    { change: { sub: 't-43' } },
    { change: { iss: 't-43' } },
    { change: { aud: [ISSUER] } },
    { change: { aud: `${ISSUER}/enroll` } },
    { change: { code_hash: ENROLLMENT_CODE } },
    { change: { code_hash: undefined } },
  ])('is refused with the claims $change', async ({ change }) => {
    await expect(ENROLLMENT_PROOF.verify(jwtOf(ENROLLMENT_PROOF, change))).rejects.toMatchObject({
      reason: 'claim',
      claim: Object.keys(change)[0],
    });
  });

  const tolerance = ENROLLMENT_PROOF_TOLERANCE_SECONDS;
  test.each([
    { shift: tolerance, is: 'ok' },
    { shift: tolerance + 1, is: 'not-yet-valid' },
    { shift: -tolerance, is: 'ok' },
    { shift: -tolerance - 1, is: 'expired' },
  ])('with a clock $shift s ahead: $is', async ({ shift, is }) => {
    const verdict = ENROLLMENT_PROOF.verify(jwtOf(ENROLLMENT_PROOF, { iat: NOW + shift }));
    if (is === 'ok') await expect(verdict).resolves.toBeUndefined();
    else await expect(verdict).rejects.toMatchObject({ reason: is, clockOffsetSeconds: shift });
  });
});
