/**
 * Whether 32 bytes are the canonical encoding of a point of prime order of edwards25519: what Node and
 * OpenSSL do not ask of a public key, and a registration must (I9).
 *
 * Asked of OpenSSL all the same, by one X25519 with a scalar that everybody knows: k = 5L - 1, where L is
 * the prime order. It has the form of an X25519 key (a multiple of 8, highest bit 254), so nothing of it
 * is clamped away. X25519 sees only u, which P and -P share, so its answer is the u that it was given
 * exactly when kP = P or kP = -P: when the order of P divides k - 1 or k + 1. Points of the curve have
 * orders that divide 8L, and gcd(k - 1, 8L) = 1, gcd(k + 1, 8L) = L. A u that belongs to no point of the
 * curve belongs to one of its twist, with orders that divide 4L', and both divisors are 1 there. So it is
 * true of the points of order L and of nothing else, in 71 us here, where computing LP takes 840 us.
 *
 * Units   raw public key 32 bytes.
 * Errors  none.
 * Source  RFC 7748 4.1 (the map to u) and 5 (X25519); RFC 8032 5.1.3 (encoding) and 5.1 (L, cofactor 8).
 *
 * @module
 */
import { createPrivateKey, createPublicKey, diffieHellman } from 'node:crypto';

const P = 2n ** 255n - 19n;
const L = 2n ** 252n + 27742317777372353535851937790883648493n;
const RAW_LENGTH = 32;
const SIGN_BIT = 2n ** 255n;
/** PKCS#8 of an X25519 key up to its 32 bytes (RFC 8410 7). */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b656e04220420', 'hex');

const fromLittleEndian = (bytes: Uint8Array): bigint =>
  BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`);

const toLittleEndian = (value: bigint): Buffer =>
  Buffer.from(value.toString(16).padStart(2 * RAW_LENGTH, '0'), 'hex').reverse();

const multiplier = createPrivateKey({
  key: Buffer.concat([PKCS8_PREFIX, toLittleEndian(5n * L - 1n)]),
  format: 'der',
  type: 'pkcs8',
});

/** The inverse of 0 < `value` < P, by the extended Euclidean algorithm. */
function inverse(value: bigint): bigint {
  let [a, b, s, t] = [P, value, 0n, 1n];
  while (b !== 0n) {
    const quotient = a / b;
    [a, b, s, t] = [b, a - quotient * b, t, s - quotient * t];
  }
  return s < 0n ? s + P : s;
}

/** X25519 of a `u` with the scalar above; `undefined` where it is 0, which OpenSSL refuses to answer. */
function multiplied(u: Buffer): Buffer | undefined {
  // As a JWK, which OpenSSL reads ten times as fast as DER.
  const jwk = { kty: 'OKP', crv: 'X25519', x: u.toString('base64url') };
  const publicKey = createPublicKey({ key: jwk, format: 'jwk' });
  try {
    return diffieHellman({ privateKey: multiplier, publicKey });
  } catch {
    return undefined;
  }
}

/** False for anything but 32 bytes, other encodings, points elsewhere, and points of small or mixed order. */
export function isPrimeOrderPoint(raw: Uint8Array): boolean {
  if (raw.length !== RAW_LENGTH) return false;
  // The sign of x is free: only the points with y = 1 and y = -1 have none, and neither passes.
  const y = fromLittleEndian(raw) % SIGN_BIT;
  if (y >= P || y === 1n) return false;
  const u = toLittleEndian(((1n + y) * inverse((P + 1n - y) % P)) % P);
  return multiplied(u)?.equals(u) ?? false;
}
