/**
 * The issuer of the tokens that a client mints itself: the authority's, and the client behind it.
 *
 * Units   none.
 * Errors  none; what names no client is `undefined`.
 * Source  DESIGN 3 (minted tokens).
 *
 * @module
 */
import { type ClientId, type Issuer, parseClientId } from './ids.js';

/** What all minting issuers of an authority begin with. */
export function mintingPrefix(issuer: Issuer): string {
  return `${issuer}/clients/`;
}

export function mintingIssuer(issuer: Issuer, clientId: ClientId): Issuer {
  return `${mintingPrefix(issuer)}${clientId}` as Issuer;
}

/** The client whose tokens have this issuer, when they are minted by a client of the authority. */
export function mintingClientOf(issuer: Issuer, iss: string): ClientId | undefined {
  const prefix = mintingPrefix(issuer);
  if (!iss.startsWith(prefix)) return undefined;
  try {
    return parseClientId(iss.slice(prefix.length));
  } catch {
    return undefined;
  }
}
