/**
 * Where an import reads from, whatever the format: lines to send, and how a line that is refused is
 * written down so that it can be mended and imported again.
 *
 * Units   `size` and `position` in the same unit, bytes or files.
 * Errors  `FormatError` for what is wrong with a line.
 * Source  none.
 *
 * @module
 */
import { FormatError, rawOfPublicJwk, rawOfPublicKeyText } from '@latchkey/shared';
import type { Item } from '../management-client.js';

export interface SourceLine {
  /** Where it begins, counted from 1, or the name of its file. */
  readonly place: string;
  /** What the authority is sent; throws a `FormatError` for a line that cannot be. */
  readonly read: () => Item;
  /** The line in the source's format, with the reason why it was refused. */
  readonly rejected: (reason: string) => string;
}

export interface Source {
  readonly lines: AsyncIterable<SourceLine>;
  /** 0 when it is not known before the end. */
  readonly size: number;
  readonly position: () => number;
  /** Of the file of refused lines. */
  readonly rejectsExtension: '.csv' | '.jsonl';
  /** First line of that file, if the format has one. */
  readonly rejectsHeader: () => string;
}

/** Roles and labels that every line gets beside its own. */
export interface Defaults {
  readonly roles: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

/** Not a member of a registration, but of a file of refused lines. */
export const REASON = 'reason';

/** What a person may have pasted where only a public key belongs; it must not get into more files. */
export function isPrivateKey(value: unknown): boolean {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
  return text.includes('PRIVATE KEY') || (text.includes('"kty"') && /"d"\s*:/.test(text));
}

/** The form in which a key is sent: 32 bytes in base64url. A private key stays here. */
export function keyToSend(value: unknown, field = 'public_key'): string {
  const raw =
    typeof value === 'string' ? rawOfPublicKeyText(value, field) : rawOfPublicJwk(value, field);
  return Buffer.from(raw).toString('base64url');
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Puts the defaults into a line; what the line says itself goes before. */
export function withDefaults(line: Item, { roles, labels }: Defaults): Item {
  const given = line.labels ?? {};
  return {
    ...line,
    ...(roles.length > 0 && {
      roles: [...new Set([...(Array.isArray(line.roles) ? line.roles : []), ...roles])],
    }),
    ...(Object.keys(labels).length > 0 && isObject(given) && { labels: { ...labels, ...given } }),
  };
}

/** A line that was JSON, or became it, as it is sent. */
export function toSend(line: Item, defaults: Defaults): Item {
  const { [REASON]: _reason, public_key: key, keys, ...rest } = line;
  const sent = {
    ...rest,
    ...(key !== undefined && key !== null && key !== '' && { public_key: keyToSend(key) }),
    ...(Array.isArray(keys) && {
      keys: keys.map((one: unknown, index) =>
        isObject(one)
          ? { ...one, public_key: keyToSend(one.public_key, `keys.${index}.public_key`) }
          : one,
      ),
    }),
    ...(keys !== undefined && !Array.isArray(keys) && { keys }),
  };
  return withDefaults(sent, defaults);
}

/** The line as it was, but for a private key. */
export function rejectedObject(line: Item, reason: string): string {
  const shown = Object.entries(line).map(([name, value]) => [
    name,
    isPrivateKey(value) ? '' : value,
  ]);
  return `${JSON.stringify({ [REASON]: reason, ...Object.fromEntries(shown.filter(([name]) => name !== REASON)) })}\n`;
}

/** Why a line is refused, in one line of text. */
export function reasonOf(
  errors: readonly { readonly field: string; readonly message: string }[],
): string {
  return errors.map(({ field, message }) => `${field} ${message}`.trim()).join('; ');
}

/** The problem of a line that cannot be sent; anything else is thrown. */
export function problemOf(error: unknown): string {
  if (!(error instanceof FormatError)) throw error;
  return `${error.field} ${error.problem}`;
}
