import { createPublicKey, sign } from 'node:crypto';
import {
  CoseError,
  createIssuerSigner,
  createKeySigner,
  generateIssuerKey,
  type PrivateKey,
} from '@latchkey/shared';
import { Encoder, Tag } from 'cbor-x';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type CborValue, encodeCbor } from '../../shared/src/cbor.ts';
import { signCose, verifyCose } from '../../shared/src/cose.ts';
import { KEY, OTHER_KEY } from '../helpers/jwts.ts';

const TYP = 'application/example+cbor';
const PAYLOAD = Buffer.from('83010203', 'hex');
const KID = Buffer.from(KEY.publicKey.kid);

const find = (kid: string) => (kid === KEY.publicKey.kid ? KEY.publicKey : undefined);
const verify = (message: Uint8Array) => verifyCose(message, TYP, find);
const refused = (reason: string) => expect.objectContaining({ name: 'CoseError', reason });

interface Parts {
  readonly header?: CborValue;
  /** Written as it is, instead of `header`. */
  readonly headerBytes?: Uint8Array;
  readonly unprotected?: CborValue;
  readonly payload?: CborValue;
  readonly signature?: CborValue;
  readonly tag?: number;
  readonly more?: readonly CborValue[];
  readonly context?: string;
  readonly key?: PrivateKey;
}

const headerOf = (...entries: [CborValue, CborValue][]) => new Map<CborValue, CborValue>(entries);
const HEADER = headerOf([1, -19], [4, KID], [16, TYP]);

/** A message made by hand, signed over whatever it holds. */
function message(parts: Parts = {}): Buffer {
  const { unprotected = new Map(), payload = PAYLOAD, tag = 18, more = [], key = KEY } = parts;
  const { context = 'Signature1' } = parts;
  const header = parts.headerBytes ?? encodeCbor(parts.header ?? HEADER);
  const signed = encodeCbor([context, header, Buffer.alloc(0), payload]);
  const signature = parts.signature ?? sign(null, signed, key.keyObject);
  return encodeCbor({ tag, value: [header, unprotected, payload, signature, ...more] });
}

test('what is signed verifies, and is byte for byte what RFC 9052 4.2 says', async () => {
  const signed = await signCose(createKeySigner(KEY), TYP, PAYLOAD);
  expect(signed).toEqual(message());
  expect(await verify(signed)).toEqual(PAYLOAD);
});

test('another CBOR library builds the same message', async () => {
  const codec = new Encoder({
    ...{ mapsAsObjects: false, useRecords: false, tagUint8Array: false, variableMapSize: true },
  });
  const header = codec.encode(
    new Map<number, unknown>([
      [1, -19],
      [4, KID],
      [16, TYP],
    ]),
  );
  const input = codec.encode(['Signature1', header, Buffer.alloc(0), PAYLOAD]);
  const signature = sign(null, input, KEY.keyObject);
  const theirs = codec.encode(new Tag([header, new Map(), PAYLOAD, signature], 18));
  expect(theirs).toEqual(await signCose(createKeySigner(KEY), TYP, PAYLOAD));
});

test('the alg is -19 whichever name of Ed25519 the signer has, and -8 is accepted', async () => {
  expect(await signCose(createKeySigner(KEY, 'Ed25519'), TYP, PAYLOAD)).toEqual(message());
  const older = message({ header: headerOf([1, -8], [4, KID], [16, TYP]) });
  expect(await verify(older)).toEqual(PAYLOAD);
});

test('a signer of another algorithm is refused', async () => {
  const signer = createIssuerSigner(await generateIssuerKey('ES256'));
  await expect(signCose(signer, TYP, PAYLOAD)).rejects.toThrow(TypeError);
});

test('the key may come later', async () => {
  const later = (kid: string) => Promise.resolve(find(kid));
  expect(await verifyCose(message(), TYP, later)).toEqual(PAYLOAD);
});

describe('a message is refused', () => {
  test.each<{ name: string; parts: Parts; reason: string }>([
    { name: 'without its tag', parts: { tag: 17 }, reason: 'malformed' },
    { name: 'with the tag of COSE_Sign', parts: { tag: 98 }, reason: 'malformed' },
    { name: 'with five parts', parts: { more: [0] }, reason: 'malformed' },
    { name: 'with a detached payload', parts: { payload: null }, reason: 'malformed' },
    { name: 'with a payload of text', parts: { payload: 'x' }, reason: 'malformed' },
    { name: 'with a signature of text', parts: { signature: 'x'.repeat(64) }, reason: 'malformed' },
    {
      name: 'with a signature of 63 bytes',
      parts: { signature: Buffer.alloc(63) },
      reason: 'malformed',
    },
    {
      name: 'with a signature of 65 bytes',
      parts: { signature: Buffer.alloc(65) },
      reason: 'malformed',
    },
    { name: 'with an empty signature', parts: { signature: Buffer.alloc(0) }, reason: 'malformed' },
    {
      name: 'with a signature of zeros',
      parts: { signature: Buffer.alloc(64) },
      reason: 'signature',
    },
    {
      name: 'with an unprotected header',
      parts: { unprotected: headerOf([5, KID]) },
      reason: 'header',
    },
    {
      name: 'with the kid in both headers',
      parts: { unprotected: headerOf([4, KID]) },
      reason: 'header',
    },
    {
      name: 'with unprotected headers that are no map',
      parts: { unprotected: [] },
      reason: 'header',
    },
    {
      name: 'without a protected header',
      parts: { headerBytes: Buffer.alloc(0) },
      reason: 'malformed',
    },
    { name: 'with an empty protected header', parts: { header: new Map() }, reason: 'header' },
    {
      name: 'with a protected header that is no map',
      parts: { header: [1, -19] },
      reason: 'header',
    },
    {
      name: 'with a repeated header',
      parts: { headerBytes: Buffer.from('a3013201320400', 'hex') },
      reason: 'malformed',
    },
    {
      name: 'without alg',
      parts: { header: headerOf([2, 0], [4, KID], [16, TYP]) },
      reason: 'algorithm',
    },
    {
      name: 'with alg ES256',
      parts: { header: headerOf([1, -7], [4, KID], [16, TYP]) },
      reason: 'algorithm',
    },
    {
      name: 'with alg Ed448',
      parts: { header: headerOf([1, -53], [4, KID], [16, TYP]) },
      reason: 'algorithm',
    },
    {
      name: 'with alg as text',
      parts: { header: headerOf([1, 'EdDSA'], [4, KID], [16, TYP]) },
      reason: 'algorithm',
    },
    {
      name: 'without kid',
      parts: { header: headerOf([1, -19], [3, KID], [16, TYP]) },
      reason: 'header',
    },
    {
      name: 'with a kid of text',
      parts: { header: headerOf([1, -19], [4, KEY.publicKey.kid], [16, TYP]) },
      reason: 'header',
    },
    {
      name: 'with a kid of 257 bytes',
      parts: { header: headerOf([1, -19], [4, Buffer.alloc(257)], [16, TYP]) },
      reason: 'header',
    },
    {
      name: 'with an unknown kid',
      parts: { header: headerOf([1, -19], [4, Buffer.from('x')], [16, TYP]) },
      reason: 'key',
    },
    {
      name: 'without typ',
      parts: { header: headerOf([1, -19], [4, KID], [15, TYP]) },
      reason: 'type',
    },
    {
      name: 'with another typ',
      parts: { header: headerOf([1, -19], [4, KID], [16, `${TYP}x`]) },
      reason: 'type',
    },
    {
      name: 'with typ in capitals',
      parts: { header: headerOf([1, -19], [4, KID], [16, TYP.toUpperCase()]) },
      reason: 'type',
    },
    {
      name: 'with a critical header',
      parts: { header: headerOf([1, -19], [2, [99]], [4, KID], [16, TYP]) },
      reason: 'header',
    },
    { name: 'signed by another key', parts: { key: OTHER_KEY }, reason: 'signature' },
    { name: 'signed for another context', parts: { context: 'Signature' }, reason: 'signature' },
    {
      name: 'signed as a countersignature',
      parts: { context: 'CounterSignature' },
      reason: 'signature',
    },
  ])('$name', async ({ parts, reason }) => {
    await expect(verify(message(parts))).rejects.toEqual(refused(reason));
  });

  test.each([
    { name: 'nothing', bytes: Buffer.alloc(0) },
    { name: 'null', bytes: Buffer.from('f6', 'hex') },
    { name: 'a number', bytes: Buffer.from('01', 'hex') },
    { name: 'a text', bytes: encodeCbor('x') },
    { name: 'the array without a tag', bytes: message().subarray(1) },
    { name: 'a tag around a number', bytes: encodeCbor({ tag: 18, value: 1 }) },
    { name: 'three parts', bytes: encodeCbor({ tag: 18, value: [KID, new Map(), KID] }) },
    { name: 'a header of text', bytes: encodeCbor({ tag: 18, value: ['', new Map(), KID, KID] }) },
    {
      name: 'a tag around the message',
      bytes: Buffer.concat([Buffer.from('d83d', 'hex'), message()]),
    },
    { name: 'a byte behind it', bytes: Buffer.concat([message(), Buffer.alloc(1)]) },
    { name: 'itself twice', bytes: Buffer.concat([message(), message()]) },
    {
      name: 'an indefinite length',
      bytes: Buffer.concat([
        Buffer.from('d29f', 'hex'),
        message().subarray(2),
        Buffer.from('ff', 'hex'),
      ]),
    },
    {
      name: 'a long form of the tag',
      bytes: Buffer.concat([Buffer.from('d812', 'hex'), message().subarray(1)]),
    },
    { name: 'a million nested arrays', bytes: Buffer.alloc(1_000_000, 0x81) },
    { name: 'a JWT', bytes: Buffer.from('eyJhbGciOiJFZERTQSJ9.e30.AAAA') },
  ])('when it is $name', async ({ bytes }) => {
    await expect(verify(bytes)).rejects.toEqual(refused('malformed'));
  });

  test('when the key found is of another algorithm', async () => {
    const { publicKey } = await generateIssuerKey('ES256');
    await expect(verifyCose(message(), TYP, () => publicKey)).rejects.toEqual(refused('key'));
    const x25519 = createPublicKey({
      key: { kty: 'OKP', crv: 'X25519', x: KEY.publicKey.jwk.x },
      format: 'jwk',
    });
    const found = { keyObject: x25519 };
    await expect(verifyCose(message(), TYP, () => found)).rejects.toEqual(refused('key'));
  });

  test('with any one byte changed, taken away or put in', async () => {
    const good = message();
    const at = fc.nat({ max: good.length - 1 });
    await fc.assert(
      fc.asyncProperty(at, fc.integer({ min: 1, max: 255 }), async (index, flip) => {
        const changed = Buffer.from(good);
        changed[index] = (changed[index] as number) ^ flip;
        const cut = Buffer.concat([good.subarray(0, index), good.subarray(index + 1)]);
        const longer = Buffer.concat([
          good.subarray(0, index),
          Buffer.of(flip),
          good.subarray(index),
        ]);
        for (const bad of [changed, cut]) await expect(verify(bad)).rejects.toThrow(CoseError);
        if (!longer.equals(good)) await expect(verify(longer)).rejects.toThrow(CoseError);
      }),
      { numRuns: 300 },
    );
  });
});
