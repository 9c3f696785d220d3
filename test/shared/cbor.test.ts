import { Encoder } from 'cbor-x';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type CborValue, decodeCbor, encodeCbor } from '../../shared/src/cbor.ts';

const hex = (value: CborValue) => encodeCbor(value).toString('hex');
const decode = (text: string) => decodeCbor(Buffer.from(text, 'hex'));

/** RFC 8949 appendix A, as far as our part of CBOR goes. */
const VECTORS: readonly {
  readonly name: string;
  readonly value: CborValue;
  readonly text: string;
}[] = [
  { name: '0', value: 0, text: '00' },
  { name: '1', value: 1, text: '01' },
  { name: '10', value: 10, text: '0a' },
  { name: '23', value: 23, text: '17' },
  { name: '24', value: 24, text: '1818' },
  { name: '25', value: 25, text: '1819' },
  { name: '100', value: 100, text: '1864' },
  { name: '255', value: 255, text: '18ff' },
  { name: '256', value: 256, text: '190100' },
  { name: '1000', value: 1000, text: '1903e8' },
  { name: '65535', value: 65_535, text: '19ffff' },
  { name: '65536', value: 65_536, text: '1a00010000' },
  { name: '1000000', value: 1_000_000, text: '1a000f4240' },
  { name: '2^32 - 1', value: 2 ** 32 - 1, text: '1affffffff' },
  { name: '2^32', value: 2 ** 32, text: '1b0000000100000000' },
  { name: '1000000000000', value: 1_000_000_000_000, text: '1b000000e8d4a51000' },
  { name: '2^53 - 1', value: Number.MAX_SAFE_INTEGER, text: '1b001fffffffffffff' },
  { name: '-1', value: -1, text: '20' },
  { name: '-10', value: -10, text: '29' },
  { name: '-100', value: -100, text: '3863' },
  { name: '-1000', value: -1000, text: '3903e7' },
  { name: '-2^53', value: -(2 ** 53), text: '3b001fffffffffffff' },
  { name: 'false', value: false, text: 'f4' },
  { name: 'true', value: true, text: 'f5' },
  { name: 'null', value: null, text: 'f6' },
  { name: 'no bytes', value: Buffer.alloc(0), text: '40' },
  { name: 'bytes', value: Buffer.from('01020304', 'hex'), text: '4401020304' },
  { name: 'no text', value: '', text: '60' },
  { name: 'a', value: 'a', text: '6161' },
  { name: 'IETF', value: 'IETF', text: '6449455446' },
  { name: 'quote and backslash', value: '"\\', text: '62225c' },
  { name: 'u umlaut', value: '\u00fc', text: '62c3bc' },
  { name: 'water', value: '\u6c34', text: '63e6b0b4' },
  { name: 'a letter beyond the BMP', value: '\u{10151}', text: '64f0908591' },
  { name: '[]', value: [], text: '80' },
  { name: '[1, 2, 3]', value: [1, 2, 3], text: '83010203' },
  { name: 'nested arrays', value: [1, [2, 3], [4, 5]], text: '8301820203820405' },
  {
    name: '25 numbers',
    value: Array.from({ length: 25 }, (_, i) => i + 1),
    text: '98190102030405060708090a0b0c0d0e0f101112131415161718181819',
  },
  { name: '{}', value: new Map(), text: 'a0' },
  {
    name: '{1: 2, 3: 4}',
    value: new Map([
      [1, 2],
      [3, 4],
    ]),
    text: 'a201020304',
  },
  {
    name: '{"a": 1, "b": [2, 3]}',
    value: new Map<CborValue, CborValue>([
      ['a', 1],
      ['b', [2, 3]],
    ]),
    text: 'a26161016162820203',
  },
  { name: 'a tag', value: { tag: 32, value: 'x' }, text: 'd8206178' },
];

describe('RFC 8949 appendix A', () => {
  test.each(VECTORS)('$name is written as $text', ({ value, text }) => {
    expect(hex(value)).toBe(text);
  });

  test.each(VECTORS)('$text is read as $name', ({ value, text }) => {
    expect(decode(text)).toEqual(value);
  });
});

test('map keys are written in the order of their bytes (RFC 8949 4.2.1)', () => {
  const keys: CborValue[] = [-1, 10, 100, 'z', 'aa', [100], [-1], false];
  const map = new Map(keys.reverse().map((key): [CborValue, CborValue] => [key, 0]));
  expect(hex(map)).toBe(
    'a8' + '0a00' + '186400' + '2000' + '617a00' + '62616100' + '81186400' + '812000' + 'f400',
  );
});

test.each([
  { name: 'nothing', text: '' },
  { name: 'a byte behind the value', text: '0000' },
  { name: 'a number that ends too early', text: '19ff' },
  { name: 'bytes that end too early', text: '420a' },
  { name: 'text that ends too early', text: '6261' },
  { name: 'an array that ends too early', text: '8201' },
  { name: 'a map that ends too early', text: 'a101' },
  { name: 'a tag without a value', text: 'd2' },
  { name: '23 in two bytes', text: '1817' },
  { name: '255 in three bytes', text: '1900ff' },
  { name: '65535 in five bytes', text: '1a0000ffff' },
  { name: '2^32 - 1 in nine bytes', text: '1b00000000ffffffff' },
  { name: '-1 in two bytes', text: '3800' },
  { name: 'a long length of bytes', text: '580161' },
  { name: 'a long length of text', text: '780161' },
  { name: 'a long length of an array', text: '980101' },
  { name: 'a long length of a map', text: 'b8010102' },
  { name: 'a long tag number', text: 'd81200' },
  { name: '2^53', text: '1b0020000000000000' },
  { name: '2^64 - 1', text: '1bffffffffffffffff' },
  { name: '-2^64', text: '3bffffffffffffffff' },
  { name: 'bytes of indefinite length', text: '5f4101ff' },
  { name: 'text of indefinite length', text: '7f6161ff' },
  { name: 'an array of indefinite length', text: '9f01ff' },
  { name: 'a map of indefinite length', text: 'bf0101ff' },
  { name: 'a break alone', text: 'ff' },
  { name: 'the reserved form 28', text: '1c' },
  { name: 'the reserved form 30', text: '1e' },
  { name: 'a half float', text: 'f93c00' },
  { name: 'a float', text: 'fa47c35000' },
  { name: 'a double', text: 'fb4270000000000000' },
  { name: 'undefined', text: 'f7' },
  { name: 'simple(16)', text: 'f0' },
  { name: 'simple(255)', text: 'f8ff' },
  { name: 'false in two bytes', text: 'f814' },
  { name: 'a repeated key', text: 'a201000100' },
  { name: 'a repeated key of text', text: 'a2616101616102' },
  { name: 'keys in another order', text: 'a203040102' },
  { name: 'text that is not UTF-8', text: '61ff' },
  { name: 'an overlong encoding', text: '62c0af' },
  { name: 'an encoded surrogate', text: '63eda080' },
  { name: 'an array that promises 2^32 items', text: '9b0000000100000000' },
  { name: 'nested promises of 2^25 items', text: '9a01ffffff'.repeat(8) },
  { name: 'bytes that promise 2^53 - 1', text: '5b001fffffffffffff' },
  { name: 'a map that promises 2^32 - 1 entries', text: 'baffffffff' },
  { name: 'arrays nested 17 deep', text: `${'81'.repeat(16)}00` },
  { name: 'maps nested 17 deep', text: `${'a100'.repeat(16)}00` },
  { name: 'tags nested 17 deep', text: `${'d2'.repeat(16)}00` },
])('$name is refused', ({ text }) => {
  expect(() => decode(text)).toThrow(expect.objectContaining({ name: 'CborError' }));
});

test('arrays nested 16 deep are read; millions are refused before the stack ends', () => {
  expect(() => decode(`${'81'.repeat(15)}00`)).not.toThrow();
  expect(() => decodeCbor(Buffer.alloc(8_000_000, 0x81))).toThrow('is nested too deeply');
});

test('bytes come as a view of the message, also of one that is a view itself', () => {
  const message = Buffer.from('ff4401020304', 'hex').subarray(1);
  const value = decodeCbor(new Uint8Array(message.buffer, message.byteOffset, message.length));
  expect(value).toEqual(Buffer.from('01020304', 'hex'));
  expect((value as Buffer).buffer).toBe(message.buffer);
});

test.each([0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, -(2 ** 53) - 2])(
  '%d cannot be written',
  (value) => {
    expect(() => encodeCbor(value)).toThrow(RangeError);
  },
);

const { value: values } = fc.letrec<{ value: CborValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 5 },
    fc.constantFrom(null, true, false),
    fc.maxSafeInteger(),
    fc.string({ unit: 'binary' }).filter((text) => !/\p{Cs}/u.test(text)),
    fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    fc.array(tie('value')),
    fc.dictionary(fc.string(), tie('value')).map((entries) => new Map(Object.entries(entries))),
    fc.record({ tag: fc.nat(), value: tie('value') }),
  ),
}));

test('whatever is written is read as it was', () => {
  fc.assert(
    fc.property(values, (value) => {
      const encoded = encodeCbor(value);
      expect(encodeCbor(decodeCbor(encoded))).toEqual(encoded);
      expect(decodeCbor(encoded)).toEqual(value);
    }),
  );
});

test('bytes that are read are what would be written', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      let value: CborValue;
      try {
        value = decodeCbor(bytes);
      } catch (error) {
        expect(error).toMatchObject({ name: 'CborError' });
        return;
      }
      expect(encodeCbor(value)).toEqual(Buffer.from(bytes));
    }),
    { numRuns: 5000 },
  );
});

test('another implementation reads what we write, and we what it writes', () => {
  const other = new Encoder({
    ...{ mapsAsObjects: false, useRecords: false, tagUint8Array: false, variableMapSize: true },
  });
  const { value: common } = fc.letrec<{ value: CborValue }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom(null, true, false),
      fc.integer(),
      fc.string({ unit: 'binary' }).filter((text) => !/\p{Cs}/u.test(text)),
      fc.uint8Array().map((bytes) => Buffer.from(bytes)),
      fc.array(tie('value')),
    ),
  }));
  fc.assert(
    fc.property(common, (value) => {
      expect(other.decode(encodeCbor(value))).toEqual(value);
      expect(decodeCbor(other.encode(value))).toEqual(value);
    }),
  );
});
