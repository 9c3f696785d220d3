/**
 * Migration 2: access tokens that were revoked before they expired.
 *
 * Units   `expires_at`: NumericDate.
 * Errors  none.
 * Source  DESIGN 5. Never edit a migration that was released; add the next one.
 *
 * @module
 */
export const tokens: string = `
CREATE TABLE revoked_token (
  jti        TEXT PRIMARY KEY,
  client     TEXT NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX revoked_token_by_expires_at ON revoked_token (expires_at);
CREATE INDEX revoked_token_by_client ON revoked_token (client, expires_at);
`;
