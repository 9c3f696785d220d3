/**
 * Reads what is in a token without believing it.
 *
 * Units   none.
 * Errors  `FormatError`; nothing of the token is in the message.
 * Source  RFC 7515 3.1, RFC 7519 3.
 *
 * @module
 */
import { FormatError, type JsonObject, parseJsonObject } from '@latchkey/shared';

export interface DecodedToken {
  readonly header: JsonObject;
  readonly claims: JsonObject;
}

export function decodeToken(text: string): DecodedToken {
  const parts = text.split('.');
  const [header, claims] = parts;
  if (parts.length !== 3 || header === undefined || claims === undefined) {
    throw new FormatError('token', 'is not a signed JWT, which has three parts between dots');
  }
  return {
    header: parseJsonObject(Buffer.from(header, 'base64url'), 'header of the token'),
    claims: parseJsonObject(Buffer.from(claims, 'base64url'), 'body of the token'),
  };
}
