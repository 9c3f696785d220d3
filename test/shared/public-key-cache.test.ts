import { createPublicKeyCache, generateKey } from '@latchkey/shared';
import { expect, test } from 'vitest';

test('a key is imported once, and is the one it was made of', () => {
  const cache = createPublicKeyCache();
  const { publicKey } = generateKey();
  const restored = cache.restore(publicKey);
  expect(restored).toMatchObject({ kid: publicKey.kid, jwk: publicKey.jwk });
  expect(restored.keyObject.equals(publicKey.keyObject)).toBe(true);
  expect(cache.restore({ kid: publicKey.kid, jwk: { ...publicKey.jwk } })).toBe(restored);
});

test('I11: of keys that do not fit one in 16 takes the place of the oldest', () => {
  const cache = createPublicKeyCache(2);
  const keys = Array.from({ length: 18 }, () => generateKey().publicKey);
  const [first, second, ...unfit] = keys.map((key) => cache.restore(key));
  const isKept = (index: number, restored: unknown) => cache.restore(keys[index]!) === restored;
  expect(isKept(1, second)).toBe(true);
  expect(isKept(17, unfit[15])).toBe(true);
  expect(isKept(2, unfit[0])).toBe(false);
  expect(isKept(0, first)).toBe(false);
});
