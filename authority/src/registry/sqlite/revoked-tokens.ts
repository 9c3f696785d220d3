/**
 * Revoked access tokens in SQLite.
 *
 * Units   NumericDate.
 * Errors  `UnavailableError` when the client's share of the table is full.
 * Source  RFC 7009 2.2.1 (503 and `Retry-After`).
 *
 * @module
 */
import { type Clock, UnavailableError } from '@latchkey/shared';
import type { Database } from 'better-sqlite3';
import { MAX_REVOKED_TOKENS_PER_CLIENT, type RevokedToken } from '../revoked-tokens.js';

/** Rows that one insert may sweep: more than one, so that sweeping keeps up with inserting. */
const SWEEP_LIMIT = 8;

export interface SqliteRevokedTokens {
  revoke(token: RevokedToken): void;
  isRevoked(jti: string): boolean;
}

export function createRevokedTokens(deps: { db: Database; clock: Clock }): SqliteRevokedTokens {
  const { db, clock } = deps;
  // One statement counts and inserts, so that two programs together keep the bound too.
  const insert = db.prepare<RevokedToken & { readonly now: number; readonly limit: number }>(
    `INSERT INTO revoked_token (jti, client, expires_at)
     SELECT @jti, @clientId, @expiresAt
      WHERE (SELECT count(*) FROM revoked_token
              WHERE client = @clientId AND expires_at > @now) < @limit
     ON CONFLICT DO NOTHING`,
  );
  const select = db.prepare<[string]>('SELECT 1 FROM revoked_token WHERE jti = ?').pluck();
  const sweep = db.prepare<{ now: number; limit: number }>(
    `DELETE FROM revoked_token WHERE jti IN (
       SELECT jti FROM revoked_token WHERE expires_at <= @now ORDER BY expires_at LIMIT @limit)`,
  );
  const isRevoked = (jti: string): boolean => select.get(jti) !== undefined;
  const revoke = db.transaction(({ jti, clientId, expiresAt }: RevokedToken): void => {
    const now = clock.now();
    sweep.run({ now, limit: SWEEP_LIMIT });
    insert.run({ jti, clientId, expiresAt, now, limit: MAX_REVOKED_TOKENS_PER_CLIENT });
    if (!isRevoked(jti)) {
      throw new UnavailableError(
        'too many tokens of this client are revoked: wait until some expire',
      );
    }
  });
  return { revoke: (token) => revoke.immediate(token), isRevoked };
}
