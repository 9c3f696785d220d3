/**
 * Where in a token's claims a value is.
 *
 * A text is the name of one claim as it stands, dots, slashes and all: `https://example/roles`. A list
 * is a path of member names: `['realm_access', 'roles']`. So nothing needs escaping, and nothing can be
 * read in two ways.
 *
 * Units   lengths in characters.
 * Errors  `FormatError`.
 * Source  RFC 7519 4.2, 4.3 (claim names are any text).
 *
 * @module
 */
import { FormatError, type JsonObject } from '@latchkey/shared';

export type ClaimPath = string | readonly string[];

const MAX_DEPTH = 8;
const MAX_NAME_LENGTH = 255;

/** The names on the way, outermost first. */
export function parseClaimPath(path: ClaimPath, field: string): readonly string[] {
  const names = typeof path === 'string' ? [path] : [...path];
  const isGood = (name: unknown) =>
    typeof name === 'string' && name.length >= 1 && name.length <= MAX_NAME_LENGTH;
  if (names.length < 1 || names.length > MAX_DEPTH || !names.every(isGood)) {
    throw new FormatError(
      field,
      `must be the name of a claim, or a list of 1 to ${MAX_DEPTH} names that leads to it`,
    );
  }
  return Object.freeze(names);
}

/** The value at the end of the path; `undefined` where it leads nowhere. */
export function readClaim(claims: JsonObject, names: readonly string[]): unknown {
  let value: unknown = claims;
  for (const name of names) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    if (!Object.hasOwn(value, name)) return undefined;
    value = (value as JsonObject)[name];
  }
  return value;
}
