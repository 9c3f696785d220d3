/**
 * Entity tags of single items, made of their version, `If-Match` and `If-None-Match`.
 *
 * Units   none.
 * Errors  none; a header that cannot be read matches nothing.
 * Source  RFC 9110 8.8.3 and 13.1.1 (strong comparison) and 13.1.2 (weak comparison).
 *
 * @module
 */

export function formatEntityTag(version: number): string {
  return `"${version}"`;
}

/** Versions that a change is for; `undefined` without the header and for `*`. */
export function parseIfMatch(header: string | undefined): readonly number[] | undefined {
  if (header === undefined || header.trim() === '*') return undefined;
  return header.split(',').flatMap((tag) => {
    const version = /^"([1-9][0-9]{0,14})"$/.exec(tag.trim())?.[1];
    return version === undefined ? [] : [Number(version)];
  });
}

/** Whether the reader of a GET has this version already. */
export function isKnown(header: string | undefined, version: number): boolean {
  if (header === undefined) return false;
  const tags = header.split(',').map((tag) => tag.trim().replace(/^W\//, ''));
  return tags.includes('*') || tags.includes(formatEntityTag(version));
}
