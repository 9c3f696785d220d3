import { decode, Encoder } from 'cbor-x';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CborError, decodeCbor, encodeCbor } from '../../agent/src/cbor.ts';

const hex = (text: string) => Buffer.from(text, 'hex');

// RFC 8949 appendix A, in preferred serialization.
test.each([
  [0, '00'],
  [23, '17'],
  [24, '1818'],
  [255, '18ff'],
  [256, '190100'],
  [65_535, '19ffff'],
  [65_536, '1a00010000'],
  [1_000_000_000_000, '1b000000e8d4a51000'],
  [-1, '20'],
  [-100, '3863'],
  [-1000, '3903e7'],
  [1.5, 'f93e00'],
  [-4.1, 'fbc010666666666666'],
  [100_000.5, 'fa47c35040'],
  [3.4028234663852886e38, 'fa7f7fffff'],
  [1.1, 'fb3ff199999999999a'],
  [2 ** -24, 'f90001'],
  [0.00006103515625, 'f90400'],
  [-0, 'f98000'],
  [1e300, 'fb7e37e43c8800759c'],
  [false, 'f4'],
  [true, 'f5'],
  [null, 'f6'],
  ['', '60'],
  ['ü', '62c3bc'],
  [[1, [2, 3]], '8201820203'],
  [{ a: 1, b: [2, 3] }, 'a26161016162820203'],
])('%j is written as %s and read back', (value, bytes) => {
  expect(encodeCbor(value).toString('hex')).toBe(bytes);
  expect(decodeCbor(hex(bytes))).toEqual(value);
});

test.each([
  { name: 'a byte string', bytes: '4401020304', value: 'AQIDBA' },
  { name: 'a byte string in parts', bytes: '5f42010243030405ff', value: 'AQIDBAU' },
  { name: 'text in parts', bytes: '7f657374726561646d696e67ff', value: 'streaming' },
  { name: 'an open array', bytes: '9f018202039f0405ffff', value: [1, [2, 3], [4, 5]] },
  { name: 'an open map', bytes: 'bf6346756ef563416d7421ff', value: { Fun: true, Amt: -2 } },
  { name: 'a tagged date', bytes: 'c11a514b67b0', value: 1_363_896_240 },
  { name: 'a map with numbers for keys', bytes: 'a201020304', value: { 1: 2, 3: 4 } },
  { name: 'infinity', bytes: 'f97c00', value: null },
  { name: 'no number', bytes: 'f97e00', value: null },
  { name: 'undefined', bytes: 'f7', value: null },
  { name: 'a simple value', bytes: 'f8ff', value: null },
  { name: 'the largest safe integer', bytes: '1b001fffffffffffff', value: 9_007_199_254_740_991 },
  { name: 'the next integer', bytes: '1b0020000000000000', value: '9007199254740992' },
  { name: 'the largest integer', bytes: '1bffffffffffffffff', value: '18446744073709551615' },
  { name: 'the least integer', bytes: '3bffffffffffffffff', value: '-18446744073709551616' },
  { name: 'a number in a long form', bytes: '1800', value: 0 },
])('reads $name', ({ bytes, value }) => {
  expect(decodeCbor(hex(bytes))).toEqual(value);
});

test.each([
  { name: 'nothing', bytes: '' },
  { name: 'two items', bytes: '0000' },
  { name: 'a number that ends early', bytes: '1a0000' },
  { name: 'a text that ends early', bytes: '6261' },
  { name: 'a promise of 2^64 bytes', bytes: '5bffffffffffffffff00' },
  { name: 'a promise of 2^32 items', bytes: '9affffffff00' },
  { name: 'a promise of 2^64 members', bytes: 'bbffffffffffffffff' },
  { name: 'an open array without end', bytes: '9f01' },
  { name: 'an open map with half a member', bytes: 'bf00ff' },
  { name: 'a break alone', bytes: 'ff' },
  { name: 'an open number', bytes: '1f' },
  { name: 'an open tag', bytes: 'df00' },
  { name: 'a reserved head', bytes: '1c' },
  { name: 'a reserved simple value', bytes: 'fc' },
  { name: 'a simple value in a long form', bytes: 'f814' },
  { name: 'text that is not UTF-8', bytes: '61ff' },
  { name: 'text with parts of bytes', bytes: '7f4100ff' },
  { name: 'an open string in an open string', bytes: '7f7f6161ffff' },
  { name: 'items nested too deeply', bytes: `${'81'.repeat(64)}00` },
])('refuses $name', ({ bytes }) => {
  expect(() => decodeCbor(hex(bytes))).toThrow(CborError);
});

test('64 nested items are written and read, 65 are not', () => {
  const nested = (depth: number) => JSON.parse('['.repeat(depth) + ']'.repeat(depth));
  expect(decodeCbor(encodeCbor(nested(64)))).toEqual(nested(64));
  expect(() => encodeCbor(nested(65))).toThrow(RangeError);
});

test('a member named __proto__ stays a member', () => {
  const value = JSON.parse('{"__proto__":{"polluted":true}}');
  const read = decodeCbor(encodeCbor(value)) as object;
  expect(Object.keys(read)).toEqual(['__proto__']);
  expect('polluted' in read).toBe(false);
});

test('undefined members are left out, what is no number is null, as in JSON', () => {
  expect(decodeCbor(encodeCbor({ unit: undefined, value: Number.NaN }))).toEqual({ value: null });
});

const jsonValue = fc.jsonValue();

/** What cbor-x reads, where integers of 64 bits are `bigint`. */
const textOfTheirs = (bytes: Uint8Array): string =>
  JSON.stringify(decode(bytes), (_name, value: unknown) =>
    typeof value === 'bigint' ? Number(value) : value,
  );

test('whatever JSON holds is read back, also by another implementation', () => {
  fc.assert(
    fc.property(jsonValue, (value) => {
      const bytes = encodeCbor(value as never);
      expect(decodeCbor(bytes)).toEqual(value);
      // cbor-x gives this member another name.
      const text = JSON.stringify(value).replaceAll('"__proto__":', '"__proto_":');
      expect(textOfTheirs(bytes)).toBe(text);
    }),
  );
});

test('reads what another implementation writes', () => {
  const encoder = new Encoder({ useRecords: false });
  fc.assert(
    fc.property(jsonValue, (value) => {
      // What its own reader makes of it: it writes -0 as 0, and gives one member another name.
      const bytes = encoder.encode(value);
      const text = JSON.stringify(decodeCbor(bytes)).replaceAll('"__proto__":', '"__proto_":');
      expect(text).toBe(textOfTheirs(bytes));
    }),
    { numRuns: 1000 },
  );
});

test('any bytes are an item or a CborError', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      try {
        decodeCbor(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(CborError);
      }
    }),
    { numRuns: 2000 },
  );
});
