import { randomBytes } from 'node:crypto';
import { Point } from '@noble/ed25519';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isPrimeOrderPoint } from '../../shared/src/prime-order.ts';
import weak from '../vectors/rfc8032-5.1.3-weak-public-keys.json' with { type: 'json' };
import ed25519 from '../vectors/rfc8032-7.1-ed25519.json' with { type: 'json' };

const P = 2n ** 255n - 19n;
const L = 2n ** 252n + 27742317777372353535851937790883648493n;
/** The order of the twist is four times this prime: 2P + 2 is the sum of both orders. */
const TWIST_PRIME = (2n * P + 2n - 8n * L) / 4n;
/** A point of order 8, of the list of RFC 8032's implementers. */
const TORSION = Point.fromHex('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a');

const bytes = (hex: string) => Buffer.from(hex, 'hex');
const gcd = (a: bigint, b: bigint): bigint => (b === 0n ? a : gcd(b, a % b));
const littleEndian = (value: bigint): Buffer =>
  bytes(value.toString(16).padStart(64, '0')).reverse();

const scalars = fc.bigInt({ min: 1n, max: L - 1n });

/** The answer of another implementation, which computes LP. */
function isPrimeOrderByNoble(raw: Uint8Array): boolean {
  try {
    const point = Point.fromBytes(raw, false);
    return (
      !point.isSmallOrder() && point.isTorsionFree() && Buffer.from(point.toBytes()).equals(raw)
    );
  } catch {
    return false;
  }
}

describe('the scalar 5L - 1', () => {
  const k = 5n * L - 1n;

  test('is an X25519 key as it stands: a multiple of 8 whose highest bit is bit 254', () => {
    expect(k % 8n).toBe(0n);
    expect(k >> 254n).toBe(1n);
  });

  test.each([
    { name: 'kP = P on the curve', of: k - 1n, order: 8n * L, divisor: 1n },
    { name: 'kP = -P on the curve', of: k + 1n, order: 8n * L, divisor: L },
    { name: 'kP = P on the twist', of: k - 1n, order: 4n * TWIST_PRIME, divisor: 1n },
    { name: 'kP = -P on the twist', of: k + 1n, order: 4n * TWIST_PRIME, divisor: 1n },
  ])('$name for the orders that divide the right number', ({ of, order, divisor }) => {
    expect(gcd(of, order)).toBe(divisor);
  });
});

test.each(ed25519)('RFC 8032 7.1 $name: accepted', ({ publicKey }) => {
  expect(isPrimeOrderPoint(bytes(publicKey))).toBe(true);
});

test.each(Object.entries(weak).flatMap(([list, keys]) => keys.map((hex) => ({ list, hex }))))(
  'refused: $list $hex',
  ({ hex }) => {
    expect(isPrimeOrderPoint(bytes(hex))).toBe(false);
  },
);

test.each([
  { name: '31 bytes', raw: Buffer.alloc(31, 3) },
  { name: '33 bytes', raw: Buffer.alloc(33, 3) },
  { name: 'nothing', raw: Buffer.alloc(0) },
  { name: 'y = 0, of order 4', raw: littleEndian(0n) },
  { name: 'y = 1, the identity', raw: littleEndian(1n) },
  { name: 'y = -1, of order 2', raw: littleEndian(P - 1n) },
  { name: 'y = P, another spelling of 0', raw: littleEndian(P) },
  { name: 'y = P + 1, another spelling of 1', raw: littleEndian(P + 1n) },
  { name: 'all bits', raw: Buffer.alloc(32, 0xff) },
])('refused: $name', ({ raw }) => {
  expect(isPrimeOrderPoint(raw)).toBe(false);
});

test('of the eight points that a point and the torsion make, exactly the one without torsion', () => {
  fc.assert(
    fc.property(scalars, (scalar) => {
      let point = Point.BASE.multiply(scalar);
      for (let torsion = 0; torsion < 8; torsion += 1) {
        expect(isPrimeOrderPoint(point.toBytes())).toBe(torsion === 0);
        expect(isPrimeOrderPoint(point.negate().toBytes())).toBe(torsion === 0);
        point = point.add(TORSION);
      }
      expect(point.equals(Point.BASE.multiply(scalar))).toBe(true);
    }),
    { numRuns: 30 },
  );
});

test('a multiple of the base point: accepted', () => {
  fc.assert(
    fc.property(scalars, (scalar) => isPrimeOrderPoint(Point.BASE.multiply(scalar).toBytes())),
    { examples: [[1n], [2n], [L - 1n]] },
  );
});

test('any 32 bytes: the answer of the implementation that computes LP', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (raw) => {
      expect(isPrimeOrderPoint(raw)).toBe(isPrimeOrderByNoble(raw));
    }),
    { numRuns: 200 },
  );
  // fast-check likes small bytes; these are spread evenly, and half are on no point of the curve.
  for (let i = 0; i < 200; i += 1) {
    const raw = randomBytes(32);
    expect(isPrimeOrderPoint(raw), raw.toString('hex')).toBe(isPrimeOrderByNoble(raw));
  }
});
