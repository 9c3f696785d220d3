/**
 * Reads `Authorization: Basic` as OAuth wants it: id and secret form-encoded, then joined, then base64.
 *
 * Units   none.
 * Errors  none: what cannot be read is `undefined`.
 * Source  RFC 6749 2.3.1 and appendix B; RFC 7617 2.
 *
 * @module
 */

/** An id and a secret as they were sent; nothing is known of them yet. */
export interface SentCredentials {
  readonly id: string;
  readonly secret: string;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Throws `URIError` for a stray `%` and for ill-formed UTF-8. */
function formDecode(text: string): string {
  return decodeURIComponent(text.replaceAll('+', ' '));
}

/**
 * The first colon divides, so an id with a colon must be form-encoded, as the RFC says; a secret of
 * ours has no character that encoding would change.
 */
export function readBasicCredentials(authorization: string): SentCredentials | undefined {
  const encoded = /^Basic +([A-Za-z0-9+/]+={0,2})$/i.exec(authorization)?.[1] ?? '';
  const bytes = Buffer.from(encoded, 'base64');
  if (bytes.toString('base64') !== encoded) return undefined;
  try {
    const text = utf8.decode(bytes);
    const colon = text.indexOf(':');
    if (colon === -1) return undefined;
    return { id: formDecode(text.slice(0, colon)), secret: formDecode(text.slice(colon + 1)) };
  } catch {
    return undefined;
  }
}
