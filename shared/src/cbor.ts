/**
 * The part of CBOR that our signed messages are made of, in the one spelling that RFC 8949 4.2.1 allows.
 *
 * Whole numbers, byte and text strings, arrays, maps, tags, booleans and null. A decoder of our own,
 * because general ones allocate what a header promises, read tags as dates and classes, and let
 * several spellings of one value pass; here every refused byte is refused before anything is made of it.
 *
 * Units   sizes in bytes; `MAX_DEPTH` in nested items.
 * Errors  `CborError`; `RangeError` for a value that cannot be written.
 * Source  RFC 8949 3, 4.2.1 (deterministic encoding) and 5.3 (validity).
 *
 * @module
 */

/** A value with a tag number in front. */
export interface CborTag {
  readonly tag: number;
  readonly value: CborValue;
}

/** Maps stay maps, so that keys from the wire never name members of an object. */
export type CborValue =
  | null
  | boolean
  | number
  | string
  | Uint8Array
  | readonly CborValue[]
  | ReadonlyMap<CborValue, CborValue>
  | CborTag;

/** Bytes that are not one value in deterministic encoding. */
export class CborError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'CborError';
  }
}

const MAX_DEPTH = 16;

const MAJOR = { uint: 0, negative: 1, bytes: 2, text: 3, array: 4, map: 5, tag: 6, simple: 7 };
const FALSE = 20;
const TRUE = 21;
const NULL = 22;

/** First byte of an item, and its argument, a safe integer from 0 on, in the shortest form. */
export function encodeCborHead(major: number, argument: number): Buffer {
  const type = major << 5;
  if (argument < 24) return Buffer.of(type | argument);
  if (argument < 0x100) return Buffer.of(type | 24, argument);
  const size = argument < 0x1_0000 ? 2 : argument < 0x1_0000_0000 ? 4 : 8;
  const head = Buffer.alloc(1 + size);
  head[0] = type | (24 + Math.log2(size));
  if (size === 8) head.writeBigUInt64BE(BigInt(argument), 1);
  else head.writeUIntBE(argument, 1, size);
  return head;
}

function isTag(value: object): value is CborTag {
  return 'tag' in value;
}

function encodeNumber(value: number): Buffer {
  const major = value < 0 ? MAJOR.negative : MAJOR.uint;
  const argument = value < 0 ? -1 - value : value;
  if (!Number.isSafeInteger(argument)) throw new RangeError('CBOR numbers here are safe integers');
  return encodeCborHead(major, argument);
}

/** Appends the encoding of a value, so that nothing is copied before the end. */
function append(parts: Uint8Array[], value: CborValue): void {
  if (value === null) parts.push(encodeCborHead(MAJOR.simple, NULL));
  else if (typeof value === 'boolean')
    parts.push(encodeCborHead(MAJOR.simple, value ? TRUE : FALSE));
  else if (typeof value === 'number') parts.push(encodeNumber(value));
  else if (typeof value === 'string') {
    const text = Buffer.from(value);
    parts.push(encodeCborHead(MAJOR.text, text.length), text);
  } else if (value instanceof Uint8Array) {
    parts.push(encodeCborHead(MAJOR.bytes, value.length), value);
  } else if (value instanceof Map) {
    const entries = [...value].map(([key, item]) => [encodeCbor(key), encodeCbor(item)] as const);
    entries.sort(([a], [b]) => Buffer.compare(a, b));
    parts.push(encodeCborHead(MAJOR.map, entries.length), ...entries.flat());
  } else if (isTag(value)) {
    parts.push(encodeCborHead(MAJOR.tag, value.tag));
    append(parts, value.value);
  } else {
    const items = value as readonly CborValue[];
    parts.push(encodeCborHead(MAJOR.array, items.length));
    for (const item of items) append(parts, item);
  }
}

/** Encodes a value in the shortest form, maps in the order of their encoded keys. */
export function encodeCbor(value: CborValue): Buffer {
  const parts: Uint8Array[] = [];
  append(parts, value);
  return Buffer.concat(parts);
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function createReader(bytes: Buffer) {
  let at = 0;

  const take = (length: number): Buffer => {
    if (length > bytes.length - at) throw new CborError('ends too early');
    at += length;
    return bytes.subarray(at - length, at);
  };

  /** The argument of a head; a longer form than needed is refused. */
  const readArgument = (info: number): number => {
    if (info < 24) return info;
    if (info > 27) throw new CborError('has an indefinite length or a reserved form');
    const size = 2 ** (info - 24);
    const argument =
      size === 8 ? Number(take(8).readBigUInt64BE()) : take(size).readUIntBE(0, size);
    const least = [24, 0x100, 0x1_0000, 0x1_0000_0000][info - 24] as number;
    if (argument < least) throw new CborError('has a number in a longer form than needed');
    if (argument > Number.MAX_SAFE_INTEGER) throw new CborError('has a number that is too large');
    return argument;
  };

  const readText = (length: number): string => {
    try {
      return utf8.decode(take(length));
    } catch (error) {
      if (error instanceof CborError) throw error;
      throw new CborError('has text that is not UTF-8');
    }
  };

  const readArray = (length: number, depth: number): CborValue[] => {
    const items: CborValue[] = [];
    // Grows as items are found: a promise of billions costs nothing.
    while (items.length < length) items.push(readItem(depth));
    return items;
  };

  const readMap = (length: number, depth: number): Map<CborValue, CborValue> => {
    const map = new Map<CborValue, CborValue>();
    let previous: Buffer = Buffer.alloc(0);
    for (let index = 0; index < length; index += 1) {
      const start = at;
      const key = readItem(depth);
      const encoded = bytes.subarray(start, at);
      if (Buffer.compare(previous, encoded) >= 0) {
        throw new CborError('has map keys that are repeated or not in order');
      }
      previous = encoded;
      map.set(key, readItem(depth));
    }
    return map;
  };

  const readSimple = (info: number): CborValue => {
    if (info === FALSE) return false;
    if (info === TRUE) return true;
    if (info === NULL) return null;
    throw new CborError('has a float or a simple value other than false, true and null');
  };

  const readItem = (depth: number): CborValue => {
    if (depth > MAX_DEPTH) throw new CborError('is nested too deeply');
    const first = take(1).readUInt8();
    const major = first >> 5;
    const info = first & 0x1f;
    if (major === MAJOR.simple) return readSimple(info);
    const argument = readArgument(info);
    if (major === MAJOR.uint) return argument;
    if (major === MAJOR.negative) return -1 - argument;
    if (major === MAJOR.bytes) return take(argument);
    if (major === MAJOR.text) return readText(argument);
    if (major === MAJOR.array) return readArray(argument, depth + 1);
    if (major === MAJOR.map) return readMap(argument, depth + 1);
    return { tag: argument, value: readItem(depth + 1) };
  };

  return {
    readAll: (): CborValue => {
      const value = readItem(1);
      if (at < bytes.length) throw new CborError('has bytes behind the value');
      return value;
    },
  };
}

/** Decodes exactly one value; byte strings are views of `bytes`. */
export function decodeCbor(bytes: Uint8Array): CborValue {
  return createReader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)).readAll();
}
