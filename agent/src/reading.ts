/**
 * From the text of a sensor to a reading, and from readings to "it changed" and "a limit was passed".
 *
 * Units   those of the sensor, times `scale`.
 * Errors  none; pure.
 * Source  ours.
 *
 * @module
 */
import { isDeepStrictEqual } from 'node:util';
import type { JsonValue } from './cbor.js';
import type { SourceConfig } from './config.js';

export interface Reading {
  /** What is published: a number, a text, or what the JSON held. */
  readonly value: JsonValue;
  /** What limits and changes are judged by, when there is a number. */
  readonly number: number | undefined;
}

/** A number that stands alone: the `1` of `temp1` is part of a name. */
const NUMBER = /(?<![\p{L}\p{N}_.])[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?/u;
/** More digits than any sensor has, fewer than the noise of binary fractions (26.543000000000003). */
const DIGITS = 12;

const withoutNoise = (value: number): number => Number(value.toPrecision(DIGITS));

/** First number in the text, times `scale`; `undefined` when there is none. */
export function readNumber(text: string, scale: number): number | undefined {
  const [match] = NUMBER.exec(text) ?? [];
  if (match === undefined) return undefined;
  const value = withoutNoise(Number(match) * scale);
  return Number.isFinite(value) ? value : undefined;
}

/** A value that is nested deeper would exhaust the stack of whoever writes or compares it. */
const MAX_DEPTH = 32;

function isDeeperThan(depth: number, value: JsonValue | undefined): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return depth === 0 || Object.values(value).some((member) => isDeeperThan(depth - 1, member));
}

function parseJson(text: string): { readonly value: JsonValue } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return undefined;
  }
}

/** The member at a path such as `a.b`; only members of the value's own. */
function memberAt(value: JsonValue, path: string): JsonValue | undefined {
  let member: JsonValue | undefined = value;
  for (const key of path.split('.')) {
    if (typeof member !== 'object' || member === null || !Object.hasOwn(member, key)) {
      return undefined;
    }
    member = (member as Readonly<Record<string, JsonValue>>)[key];
  }
  return member;
}

/** What the text says; a text in return says why there is no reading. */
export function readText(
  text: string,
  { reads, field, scale }: Pick<SourceConfig, 'reads' | 'field' | 'scale'>,
): Reading | string {
  if (reads === 'text') return { value: text.trim(), number: undefined };
  if (reads === 'number') {
    const value = readNumber(text, scale);
    return value === undefined ? 'there is no number in the text' : { value, number: value };
  }
  const parsed = parseJson(text);
  if (parsed === undefined) return 'the text is not JSON';
  const { value } = parsed;
  if (isDeeperThan(MAX_DEPTH, value)) return `the JSON has more than ${MAX_DEPTH} levels`;
  const watched = field === undefined ? value : memberAt(value, field);
  const number = typeof watched === 'number' && Number.isFinite(watched) ? watched : undefined;
  if (field !== undefined && number === undefined) return `there is no number at ${field}`;
  return { value, number };
}

/** Whether the reading differs by more than `by` from the one before; what is no number, by anything. */
export function hasChanged(before: Reading | undefined, reading: Reading, by: number): boolean {
  if (before === undefined) return true;
  if (before.number !== undefined && reading.number !== undefined) {
    return withoutNoise(Math.abs(reading.number - before.number)) > by;
  }
  return !isDeepStrictEqual(before.value, reading.value);
}

/**
 * Whether the limit counts as passed after this reading. Once passed it stays so until the value is
 * `hysteresis` below it, so that a value that trembles around the limit does not switch all the time.
 */
export function isAboveLimit(
  limit: { readonly above: number; readonly hysteresis: number },
  wasAbove: boolean | undefined,
  value: number,
): boolean {
  return value > (wasAbove === true ? limit.above - limit.hysteresis : limit.above);
}
