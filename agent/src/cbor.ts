/**
 * JSON values as CBOR, and CBOR that anybody wrote as JSON values.
 *
 * Written in the shortest form that keeps each value, so that a reading costs few bytes on the air. Read
 * are all well-formed items, since payloads come from devices of other makers; what JSON cannot hold
 * is turned into what RFC 8949 6.1 advises. Nothing is allocated that a header merely promises.
 *
 * Units   sizes in bytes; `MAX_DEPTH` in nested items.
 * Errors  `CborError`: not exactly one well-formed item. `RangeError`: nested too deeply to be written.
 * Source  RFC 8949 3, 4.1 (preferred serialization), 6.1 (CBOR to JSON) and appendix D (half floats).
 *
 * @module
 */
import { encodeCborHead } from '@latchkey/shared';

export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue | undefined };

/** Bytes that are not exactly one CBOR item. */
export class CborError extends Error {
  constructor(problem: string) {
    super(`the CBOR ${problem}`);
    this.name = 'CborError';
  }
}

const MAX_DEPTH = 64;

const MAJOR = { unsigned: 0, negative: 1, bytes: 2, text: 3, array: 4, map: 5, tag: 6, other: 7 };
const FALSE = 20;
const TRUE = 21;
const NULL = 22;
const HALF = 25;
const SINGLE = 26;
const DOUBLE = 27;
const INDEFINITE = 31;
const BREAK = 0xff;

/** Value of a half float (RFC 8949 appendix D). */
function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent < 31) return sign * (1024 + fraction) * 2 ** (exponent - 25);
  return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
}

/** Bits of the half float that equals the value, if there is one. */
function toHalf(value: number): number | undefined {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size === 0) return sign;
  const exponent = Math.max(Math.floor(Math.log2(size)), -14);
  const fraction = size * 2 ** (10 - exponent);
  if (exponent > 15 || !Number.isInteger(fraction) || fraction > 2047) return undefined;
  const bits = fraction < 1024 ? fraction : ((exponent + 15) << 10) | (fraction - 1024);
  return sign | bits;
}

function encodeFloat(value: number): Buffer {
  const type = MAJOR.other << 5;
  const half = toHalf(value);
  if (half !== undefined) return Buffer.of(type | HALF, half >> 8, half & 0xff);
  const isSingle = Math.fround(value) === value;
  const bytes = Buffer.alloc(isSingle ? 5 : 9);
  bytes[0] = type | (isSingle ? SINGLE : DOUBLE);
  if (isSingle) bytes.writeFloatBE(value, 1);
  else bytes.writeDoubleBE(value, 1);
  return bytes;
}

function encodeNumber(value: number): Buffer {
  if (!Number.isSafeInteger(value) || Object.is(value, -0)) return encodeFloat(value);
  return value < 0
    ? encodeCborHead(MAJOR.negative, -1 - value)
    : encodeCborHead(MAJOR.unsigned, value);
}

function append(parts: Uint8Array[], value: JsonValue, depth: number): void {
  if (depth > MAX_DEPTH) throw new RangeError(`the value is nested deeper than ${MAX_DEPTH}`);
  if (value === null) parts.push(encodeCborHead(MAJOR.other, NULL));
  else if (typeof value === 'boolean')
    parts.push(encodeCborHead(MAJOR.other, value ? TRUE : FALSE));
  else if (typeof value === 'number') {
    parts.push(Number.isFinite(value) ? encodeNumber(value) : encodeCborHead(MAJOR.other, NULL));
  } else if (typeof value === 'string') {
    const text = Buffer.from(value);
    parts.push(encodeCborHead(MAJOR.text, text.length), text);
  } else if (Array.isArray(value)) {
    parts.push(encodeCborHead(MAJOR.array, value.length));
    for (const item of value) append(parts, item, depth + 1);
  } else {
    const members = Object.entries(value).filter(
      (entry): entry is [string, JsonValue] => entry[1] !== undefined,
    );
    parts.push(encodeCborHead(MAJOR.map, members.length));
    for (const [name, member] of members) {
      append(parts, name, depth + 1);
      append(parts, member, depth + 1);
    }
  }
}

/** Writes a JSON value as `JSON.stringify` would: no undefined members, `null` for what is no number. */
export function encodeCbor(value: JsonValue): Buffer {
  const parts: Uint8Array[] = [];
  append(parts, value, 1);
  return Buffer.concat(parts);
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** JSON readers take numbers for doubles: a larger integer is told in digits, not rounded. */
const fromInteger = (value: bigint): number | string =>
  value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER)
    ? Number(value)
    : value.toString();

function createReader(bytes: Buffer) {
  let at = 0;

  const take = (length: number): Buffer => {
    if (length > bytes.length - at) throw new CborError('ends too early');
    at += length;
    return bytes.subarray(at - length, at);
  };

  const readArgument = (info: number): bigint => {
    if (info < 24) return BigInt(info);
    if (info > 27) throw new CborError('has a reserved form');
    const size = 2 ** (info - 24);
    return size === 8 ? take(8).readBigUInt64BE() : BigInt(take(size).readUIntBE(0, size));
  };

  /** Whether the next item is there: `count` of them, or up to a break. */
  const hasNext = (read: number, count: bigint | undefined): boolean => {
    if (count !== undefined) return read < count;
    if (bytes[at] !== BREAK) return true;
    at += 1;
    return false;
  };

  /** A string of one length, or of parts that have one each (RFC 8949 3.2.3). */
  const readString = (major: number, count: bigint | undefined): Buffer => {
    if (count !== undefined) return take(Number(count));
    const parts: Buffer[] = [];
    while (hasNext(0, undefined)) {
      const first = take(1).readUInt8();
      if (first >> 5 !== major) throw new CborError('has a string with parts of another kind');
      parts.push(take(Number(readArgument(first & 0x1f))));
    }
    return Buffer.concat(parts);
  };

  const readText = (count: bigint | undefined): string => {
    try {
      return utf8.decode(readString(MAJOR.text, count));
    } catch (error) {
      if (error instanceof CborError) throw error;
      throw new CborError('has text that is not UTF-8');
    }
  };

  const readMap = (count: bigint | undefined, depth: number): JsonValue => {
    const members: [string, JsonValue][] = [];
    while (hasNext(members.length, count)) {
      const key = readItem(depth);
      const name = typeof key === 'string' ? key : JSON.stringify(key);
      members.push([name, readItem(depth)]);
    }
    return Object.fromEntries(members); // defines own members, "__proto__" too
  };

  const readArray = (count: bigint | undefined, depth: number): JsonValue => {
    const items: JsonValue[] = [];
    while (hasNext(items.length, count)) items.push(readItem(depth));
    return items;
  };

  const readOther = (info: number): JsonValue => {
    if (info === FALSE || info === TRUE) return info === TRUE;
    let value: number;
    if (info === HALF) value = fromHalf(take(2).readUInt16BE());
    else if (info === SINGLE) value = take(4).readFloatBE();
    else if (info === DOUBLE) value = take(8).readDoubleBE();
    else {
      if (info === 24 && take(1).readUInt8() < 32) throw new CborError('has a reserved form');
      if (info > 27) throw new CborError('has a break or a reserved form');
      return null; // undefined and unassigned simple values
    }
    return Number.isFinite(value) ? value : null;
  };

  const readItem = (depth: number): JsonValue => {
    if (depth > MAX_DEPTH) throw new CborError('is nested too deeply');
    const first = take(1).readUInt8();
    const major = first >> 5;
    const info = first & 0x1f;
    if (major === MAJOR.other) return readOther(info);
    const mayBeOpen = major >= MAJOR.bytes && major <= MAJOR.map;
    const argument = mayBeOpen && info === INDEFINITE ? undefined : readArgument(info);
    if (major === MAJOR.bytes) return readString(major, argument).toString('base64url');
    if (major === MAJOR.text) return readText(argument);
    if (major === MAJOR.array) return readArray(argument, depth + 1);
    if (major === MAJOR.map) return readMap(argument, depth + 1);
    if (major === MAJOR.tag) return readItem(depth + 1); // the tag itself has no place in JSON
    return fromInteger(
      major === MAJOR.negative ? -1n - (argument as bigint) : (argument as bigint),
    );
  };

  return {
    readAll: (): JsonValue => {
      const value = readItem(1);
      if (at < bytes.length) throw new CborError('has bytes behind the item');
      return value;
    },
  };
}

/** Reads exactly one item. Byte strings become base64url, tags go, what is no JSON number `null`. */
export function decodeCbor(bytes: Uint8Array): JsonValue {
  return createReader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)).readAll();
}
