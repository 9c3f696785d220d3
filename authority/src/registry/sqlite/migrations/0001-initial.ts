/**
 * Migration 1: everything that the first version keeps.
 *
 * Units   `*_at`, `not_before`, `remember_until`: NumericDate.
 * Errors  none.
 * Source  DESIGN 5. Never edit a migration that was released; add the next one.
 *
 * @module
 */
export const initial: string = `
CREATE TABLE resource (
  identifier        TEXT PRIMARY KEY,
  kind              TEXT NOT NULL CHECK (kind IN ('mqtt', 'http')),
  token_ttl_seconds INTEGER NOT NULL CHECK (token_ttl_seconds BETWEEN 60 AND 86400),
  created_at        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE permission (
  name       TEXT PRIMARY KEY,
  resource   TEXT NOT NULL REFERENCES resource (identifier),
  scopes     TEXT NOT NULL CHECK (json_type(scopes) = 'array'),
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE role (
  name       TEXT PRIMARY KEY,
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE role_permission (
  role       TEXT NOT NULL REFERENCES role (name),
  permission TEXT NOT NULL REFERENCES permission (name),
  PRIMARY KEY (role, permission)
) STRICT, WITHOUT ROWID;

CREATE TABLE client (
  id         TEXT PRIMARY KEY,
  kind       TEXT NOT NULL CHECK (kind IN ('device', 'service')),
  status     TEXT NOT NULL CHECK (status IN ('active', 'suspended', 'revoked')),
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX client_by_kind ON client (kind, id);

CREATE TABLE client_label (
  client TEXT NOT NULL REFERENCES client (id),
  key    TEXT NOT NULL,
  value  TEXT NOT NULL,
  PRIMARY KEY (client, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE client_role (
  client TEXT NOT NULL REFERENCES client (id),
  role   TEXT NOT NULL REFERENCES role (name),
  PRIMARY KEY (client, role)
) STRICT, WITHOUT ROWID;

-- One key belongs to one client, whatever its status: kid is unique over all of them (I9).
CREATE TABLE client_key (
  kid        TEXT PRIMARY KEY,
  client     TEXT NOT NULL REFERENCES client (id),
  x          TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  not_before INTEGER,
  expires_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX client_key_by_client ON client_key (client);

CREATE TABLE enrollment (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  code_hash  TEXT NOT NULL UNIQUE,
  client_id  TEXT,
  id_pattern TEXT,
  uses       INTEGER NOT NULL CHECK (uses >= 1),
  uses_left  INTEGER NOT NULL CHECK (uses_left BETWEEN 0 AND uses),
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  CHECK ((client_id IS NULL) <> (id_pattern IS NULL))
) STRICT;

CREATE TABLE enrollment_role (
  enrollment INTEGER NOT NULL REFERENCES enrollment (id),
  role       TEXT NOT NULL REFERENCES role (name),
  PRIMARY KEY (enrollment, role)
) STRICT, WITHOUT ROWID;

CREATE TABLE enrollment_label (
  enrollment INTEGER NOT NULL REFERENCES enrollment (id),
  key        TEXT NOT NULL,
  value      TEXT NOT NULL,
  PRIMARY KEY (enrollment, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE enrollment_use (
  enrollment INTEGER NOT NULL REFERENCES enrollment (id),
  client     TEXT NOT NULL REFERENCES client (id),
  kid        TEXT NOT NULL,
  used_at    INTEGER NOT NULL,
  PRIMARY KEY (enrollment, client, kid)
) STRICT, WITHOUT ROWID;

-- The primary key is what makes one assertion good for one token (I6).
CREATE TABLE assertion_seen (
  client_id      TEXT NOT NULL,
  jti            TEXT NOT NULL,
  remember_until INTEGER NOT NULL,
  PRIMARY KEY (client_id, jti)
) STRICT, WITHOUT ROWID;
CREATE INDEX assertion_seen_by_remember_until ON assertion_seen (remember_until);

CREATE TABLE signing_key (
  kid        TEXT PRIMARY KEY,
  x          TEXT NOT NULL,
  status     TEXT NOT NULL CHECK (status IN ('next', 'active', 'retired')),
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX one_active_signing_key ON signing_key (status) WHERE status = 'active';
`;
