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

test('I11: it holds so many keys as it was told, and the oldest goes first', () => {
  const cache = createPublicKeyCache(2);
  const [a, b, c] = [generateKey(), generateKey(), generateKey()].map(({ publicKey }) => publicKey);
  const first = cache.restore(a!);
  const second = cache.restore(b!);
  cache.restore(c!);
  expect(cache.restore(b!)).toBe(second);
  expect(cache.restore(a!)).not.toBe(first);
});
