/**
 * Patterns of client ids, such as `t-*`, that an enrollment code may be limited to.
 *
 * Units   lengths in characters.
 * Errors  `FormatError`, naming the field.
 * Source  DESIGN 4 (Enrollment).
 *
 * @module
 */
import { FormatError } from '@latchkey/shared';

const PATTERN = /^(?:[A-Za-z0-9*][A-Za-z0-9._:*-]{0,63})$/;

/** Characters of a client id and `*`, which stands for any characters, also none. */
export function parseIdPattern(value: string, field = 'id_pattern'): string {
  if (!PATTERN.test(value)) {
    throw new FormatError(field, 'must be 1 to 64 characters of A-Z a-z 0-9 . _ : - and *');
  }
  return value;
}

/**
 * Whether the whole id matches. Each literal piece is taken at its first place, which finds a match
 * whenever there is one and never backtracks, unlike a regular expression with many stars.
 */
export function matchesIdPattern(pattern: string, id: string): boolean {
  const [first = '', ...others] = pattern.split('*');
  const last = others.pop();
  if (last === undefined) return id === pattern;
  if (!id.startsWith(first)) return false;
  let at = first.length;
  for (const piece of others) {
    const found = id.indexOf(piece, at);
    if (found === -1) return false;
    at = found + piece.length;
  }
  return id.length - last.length >= at && id.endsWith(last);
}
