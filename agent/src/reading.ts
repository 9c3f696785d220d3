/**
 * From the text of a sensor to a reading, and from readings to "a limit was passed".
 *
 * Units   those of the sensor, times `scale`.
 * Errors  none; pure.
 * Source  ours.
 *
 * @module
 */

/** A number that stands alone: the `1` of `temp1` is part of a name. */
const NUMBER = /(?<![\p{L}\p{N}_.])[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?/u;
/** More digits than any sensor has, fewer than the noise of binary fractions (26.543000000000003). */
const DIGITS = 12;

/** First number in the text, times `scale`; `undefined` when there is none. */
export function readNumber(text: string, scale: number): number | undefined {
  const [match] = NUMBER.exec(text) ?? [];
  if (match === undefined) return undefined;
  const value = Number((Number(match) * scale).toPrecision(DIGITS));
  return Number.isFinite(value) ? value : undefined;
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
