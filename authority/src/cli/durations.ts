/**
 * Options that say how long something is good, as the API wants them.
 *
 * Units   seconds; NumericDate.
 * Errors  `FormatError`.
 * Source  STYLE 2.10.
 *
 * @module
 */
import { type NumericDate, parseDuration } from '@latchkey/shared';
import type { Io } from './io.js';

/** Seconds of a duration; `undefined` without one, and `null` for `none`. */
export function parseOptionalDuration(
  text: string | undefined,
  option: string,
): number | null | undefined {
  if (text === undefined) return undefined;
  return text === 'none' ? null : parseDuration(text, option);
}

/** The instant after that duration from now. */
export function parseInstantFromNow(
  text: string | undefined,
  option: string,
  io: Io,
): NumericDate | undefined {
  return text === undefined ? undefined : io.clock.now() + parseDuration(text, option);
}
