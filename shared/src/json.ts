/**
 * Strict reading of JSON objects whose text was signed by somebody else.
 *
 * `JSON.parse` lets the last of two equal members win, so two readers of one signed text could see
 * two different tokens. Here repeated members, ill-formed UTF-8 and anything but an object are refused.
 *
 * Units   sizes in bytes.
 * Errors  `FormatError`.
 * Source  RFC 8725 2.8 and 3; RFC 7519 4 (unique claim names), RFC 7515 4 (unique header parameters).
 *
 * @module
 */
import { FormatError } from './errors.js';

export type JsonObject = Readonly<Record<string, unknown>>;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
/** A string, or one structural character; numbers and literals cannot repeat a member. */
const TOKENS = /"(?:[^"\\]|\\.)*"|[{}[\],:]/g;

/** Whether any object in the (already valid) JSON text names a member twice. */
function hasRepeatedMember(text: string): boolean {
  const open: (Set<unknown> | undefined)[] = [];
  let previous = '';
  let isKeyNext = false;
  for (const [token] of text.matchAll(TOKENS)) {
    const members = open.at(-1);
    if (token === '{') open.push(new Set());
    else if (token === '[') open.push(undefined);
    else if (token === '}' || token === ']') open.pop();
    else if (isKeyNext && members !== undefined && token.startsWith('"')) {
      const key: unknown = JSON.parse(token); // "a" and "\\u0061" are one name
      if (members.has(key)) return true;
      members.add(key);
    }
    previous = token;
    isKeyNext = previous === '{' || previous === ',';
  }
  return false;
}

/** Parses bytes as one JSON object without repeated members. */
export function parseJsonObject(bytes: Uint8Array, field: string): JsonObject {
  let text: string;
  let value: unknown;
  try {
    text = utf8.decode(bytes);
    value = JSON.parse(text);
  } catch {
    throw new FormatError(field, 'is not JSON in UTF-8');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new FormatError(field, 'is not a JSON object');
  }
  // What every library writes comes back unchanged and cannot repeat a member: the usual, fast case.
  if (JSON.stringify(value) !== text && hasRepeatedMember(text)) {
    throw new FormatError(field, 'names a member twice');
  }
  return value as JsonObject;
}
