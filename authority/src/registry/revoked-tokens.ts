/**
 * Access tokens that were revoked before they expired (RFC 7009), each remembered until it expires.
 *
 * Units   NumericDate.
 * Errors  `UnavailableError` when a client has revoked so many that no more are remembered for it.
 * Source  RFC 7009 2.1 and 2.2.1.
 *
 * @module
 */
import type { ClientId, NumericDate } from '@latchkey/shared';

/** How many unexpired tokens of one client are remembered as revoked, so that none fills the table. */
export const MAX_REVOKED_TOKENS_PER_CLIENT = 10_000;

export interface RevokedToken {
  /** `jti` of a token whose signature was verified, and which was issued to this client. */
  readonly jti: string;
  readonly clientId: ClientId;
  /** From then on it is expired for everybody and its record can go. */
  readonly expiresAt: NumericDate;
}

export interface RevokedTokens {
  /** Does nothing for a token that is revoked already. */
  revokeToken(token: RevokedToken): Promise<void>;
  isTokenRevoked(jti: string): Promise<boolean>;
}
