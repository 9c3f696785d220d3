/**
 * Where access tokens come from: issued by the authority, and minted on the device when it cannot be
 * reached.
 *
 * Units   NumericDate.
 * Errors  `UnreachableError`: try again later. `TokenRequestError`: refused, an operator is needed.
 * Source  DESIGN 3 (two ways to a token).
 *
 * @module
 */
import type { NumericDate, ResourceId } from '@latchkey/shared';

export interface AccessToken {
  /** The credential itself: goes into CONNECT or an `Authorization` header and nowhere else. */
  readonly accessToken: string;
  readonly issuedAt: NumericDate;
  readonly expiresAt: NumericDate;
  /** What was granted, as the wire string. */
  readonly scope: string;
  /** Whether the authority, when it last answered, let this device mint tokens. */
  readonly mayMint: boolean;
}

/** What the token is for. Without `resource` the authority chooses its default. */
export interface TokenPurpose {
  readonly resource?: ResourceId | undefined;
  /** Space-separated scope values; everything that the client has there when left out. */
  readonly scope?: string | undefined;
}

export interface TokenSource {
  /** A token with enough life left, from the cache if there is one. Never an expired one. */
  get(purpose: TokenPurpose): Promise<AccessToken>;
  /** A new token, whatever the cache holds; the old one stays in use until this succeeds. */
  renew(purpose: TokenPurpose): Promise<AccessToken>;
  /** Forgets a token that was refused. */
  discard(token: AccessToken): Promise<void>;
}
