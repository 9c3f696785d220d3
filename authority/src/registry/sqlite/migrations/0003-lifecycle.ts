/**
 * Migration 3: life cycle of clients, keys and secrets, and options of resources.
 *
 * Units   NumericDate; `token_ttl_seconds` in seconds; `version` counts changes.
 * Errors  none.
 * Source  DESIGN 5. Never edit a migration that was released; add the next one.
 *
 * @module
 */
export const lifecycle: string = `
ALTER TABLE resource ADD COLUMN signing_alg TEXT NOT NULL DEFAULT 'EdDSA'
  CHECK (signing_alg IN ('EdDSA', 'Ed25519', 'ES256', 'RS256'));
ALTER TABLE resource ADD COLUMN narrows_scope INTEGER NOT NULL DEFAULT 0
  CHECK (narrows_scope IN (0, 1));
ALTER TABLE resource ADD COLUMN has_legacy_claims INTEGER NOT NULL DEFAULT 0
  CHECK (has_legacy_claims IN (0, 1));
ALTER TABLE resource ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE permission ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE role ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE enrollment ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE enrollment ADD COLUMN revoked_at INTEGER;
-- What its maker could reach, checked again when the code is redeemed.
ALTER TABLE enrollment ADD COLUMN reach_key TEXT;
ALTER TABLE enrollment ADD COLUMN reach_value TEXT;
ALTER TABLE enrollment ADD COLUMN reach_except_roles_at TEXT;

ALTER TABLE client ADD COLUMN may_mint INTEGER NOT NULL DEFAULT 0 CHECK (may_mint IN (0, 1));
ALTER TABLE client ADD COLUMN token_ttl_seconds INTEGER
  CHECK (token_ttl_seconds BETWEEN 60 AND 86400);
ALTER TABLE client ADD COLUMN tokens_not_before INTEGER NOT NULL DEFAULT 0;
ALTER TABLE client ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE client ADD COLUMN limit_key TEXT;
ALTER TABLE client ADD COLUMN limit_value TEXT;

-- An id that was deleted stays taken until an operator frees it; what is left of it afterwards keeps
-- old tokens void and versions growing for whoever is registered under it next.
CREATE TABLE client_tombstone (
  id         TEXT PRIMARY KEY,
  kind       TEXT NOT NULL,
  deleted_at INTEGER NOT NULL,
  freed_at   INTEGER,
  version    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

ALTER TABLE client_key ADD COLUMN label TEXT NOT NULL DEFAULT '';

-- Whose a key ever was: removed keys never come back under another client (I9). NULL: nobody's any more.
CREATE TABLE key_owner (
  kid    TEXT PRIMARY KEY,
  client TEXT
) STRICT, WITHOUT ROWID;
INSERT INTO key_owner (kid, client) SELECT kid, client FROM client_key;
CREATE INDEX key_owner_by_client ON key_owner (client);

-- The primary key makes one rotation at a time.
CREATE TABLE key_rotation (
  client     TEXT PRIMARY KEY REFERENCES client (id),
  old_kid    TEXT NOT NULL REFERENCES client_key (kid),
  new_kid    TEXT NOT NULL REFERENCES client_key (kid),
  started_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE client_secret (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  client     TEXT NOT NULL REFERENCES client (id),
  hash       BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
  prefix     TEXT NOT NULL,
  last_four  TEXT NOT NULL,
  label      TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER
) STRICT;
CREATE INDEX client_secret_by_client ON client_secret (client);

CREATE TABLE secret_rotation (
  client     TEXT PRIMARY KEY REFERENCES client (id),
  old_id     INTEGER NOT NULL REFERENCES client_secret (id),
  new_id     INTEGER NOT NULL REFERENCES client_secret (id),
  started_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What lists are filtered by, each in the order of the ids that pages follow.
CREATE INDEX client_by_status ON client (status, id);
CREATE INDEX client_label_by_value ON client_label (key, value, client);
CREATE INDEX client_role_by_role ON client_role (role, client);
CREATE INDEX role_permission_by_permission ON role_permission (permission, role);
CREATE INDEX permission_by_resource ON permission (resource, name);
CREATE INDEX enrollment_label_by_value ON enrollment_label (key, value, enrollment);
CREATE INDEX enrollment_role_by_role ON enrollment_role (role);
CREATE INDEX enrollment_use_by_client ON enrollment_use (client);
CREATE INDEX enrollment_by_client ON enrollment (client_id) WHERE client_id IS NOT NULL;
`;
