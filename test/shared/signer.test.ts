import { createPrivateKey, verify } from 'node:crypto';
import {
  createKeySigner,
  importPrivatePem,
  importPublicJwk,
  SIGNING_ALGORITHMS,
} from '@latchkey/shared';
import { compactVerify } from 'jose';
import { expect, test } from 'vitest';
import { signedJwt } from '../helpers/jwts.ts';
import ed25519 from '../vectors/rfc8032-7.1-ed25519.json' with { type: 'json' };
import jws from '../vectors/rfc8037-a.4-jws.json' with { type: 'json' };

const keyOfSeed = (seed: Buffer) => {
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]);
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  return importPrivatePem(key.export({ type: 'pkcs8', format: 'pem' }).toString());
};

test.each(ed25519)(
  'RFC 8032 7.1 $name: signs as the vector says',
  async ({ seed, message, signature }) => {
    const signer = createKeySigner(keyOfSeed(Buffer.from(seed, 'hex')));
    const made = await signer.sign(Buffer.from(message, 'hex'));
    expect(Buffer.from(made).toString('hex')).toBe(signature);
  },
);

test('RFC 8037 A.4: the JWS comes out character by character, and jose verifies it', async () => {
  const key = keyOfSeed(Buffer.from(jws.privateJwk.d, 'base64url'));
  expect(key.publicKey.jwk).toEqual(jws.publicJwk);
  expect(signedJwt(jws.header, jws.payload, key)).toBe(jws.jws);
  const signature = await createKeySigner(key).sign(Buffer.from(jws.signingInput));
  expect(`${jws.signingInput}.${Buffer.from(signature).toString('base64url')}`).toBe(jws.jws);
  const { keyObject } = importPublicJwk(jws.publicJwk);
  const verified = await compactVerify(jws.jws, keyObject);
  expect(Buffer.from(verified.payload).toString()).toBe(jws.payload);
});

test('it says EdDSA unless told otherwise, and knows no other algorithm', () => {
  const key = keyOfSeed(Buffer.alloc(32, 7));
  expect(createKeySigner(key).alg).toBe('EdDSA');
  expect(createKeySigner(key, 'Ed25519').alg).toBe('Ed25519');
  expect(SIGNING_ALGORITHMS).toEqual(['EdDSA', 'Ed25519']);
});

test('many signatures at once are each the right one', async () => {
  const key = keyOfSeed(Buffer.alloc(32, 9));
  const signer = createKeySigner(key);
  const texts = Array.from({ length: 64 }, (_, i) => Buffer.from(`message ${i}`));
  const signatures = await Promise.all(texts.map((text) => signer.sign(text)));
  for (const [i, signature] of signatures.entries()) {
    expect(verify(null, texts[i]!, key.publicKey.keyObject, signature)).toBe(true);
  }
});
