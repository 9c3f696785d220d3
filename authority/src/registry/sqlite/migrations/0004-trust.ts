/**
 * Migration 4: the sequence of changes that the trust feed tells, and the life of signing keys.
 *
 * Changes are noted by triggers, so that no statement can forget to. A client has one row, its newest
 * change, so the table never outgrows the clients. Triggers delete and insert where REPLACE would be
 * shorter, because a conflict clause of the outer statement would override it.
 *
 * Units   `*_at`, `published_until`: NumericDate.
 * Errors  none.
 * Source  DESIGN 5; https://sqlite.org/lang_createtrigger.html. Never edit a migration that was
 *         released; add the next one.
 *
 * @module
 */

/** Notes the change of one client; of thousands at once, this is four times as fast as the next. */
const noteOne = (client: string): string => `
  DELETE FROM client_change WHERE client = ${client};
  INSERT INTO client_change (client) VALUES (${client});`;

/** Notes the change of each client that the query selects. */
const noteMany = (clients: string): string => `
  DELETE FROM client_change WHERE client IN (${clients});
  INSERT INTO client_change (client) ${clients};`;

/** A trigger for each way in which a row of the table can change. */
const noteEach = (table: string, note: (row: 'NEW' | 'OLD') => string): string => `
CREATE TRIGGER ${table}_inserted AFTER INSERT ON ${table} BEGIN ${note('NEW')} END;
CREATE TRIGGER ${table}_updated AFTER UPDATE ON ${table} BEGIN ${note('OLD')} ${note('NEW')} END;
CREATE TRIGGER ${table}_deleted AFTER DELETE ON ${table} BEGIN ${note('OLD')} END;
`;

export const trust: string = `
CREATE TABLE feed (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  feed_id  TEXT NOT NULL
) STRICT;
INSERT INTO feed (only_row, feed_id) VALUES (1, lower(hex(randomblob(16))));

-- The client '' stands for the signing keys, whose change every reader has to see.
CREATE TABLE client_change (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  client   TEXT NOT NULL UNIQUE
) STRICT;
INSERT INTO client_change (client) VALUES ('');

${noteEach('client', (row) => noteOne(`${row}.id`))}
${noteEach('client_key', (row) => noteOne(`${row}.client`))}
${noteEach('client_label', (row) => noteOne(`${row}.client`))}
${noteEach('client_role', (row) => noteOne(`${row}.client`))}
${noteEach('role_permission', (row) =>
  noteMany(`SELECT client FROM client_role WHERE role = ${row}.role`),
)}
CREATE TRIGGER permission_updated AFTER UPDATE OF scopes, resource ON permission
BEGIN ${noteMany(
  `SELECT DISTINCT client_role.client FROM role_permission
     JOIN client_role ON client_role.role = role_permission.role
    WHERE role_permission.permission = NEW.name`,
)} END;

-- One key serves one algorithm, so each algorithm has keys of its own.
CREATE TABLE signing_key_by_alg (
  kid             TEXT PRIMARY KEY,
  alg             TEXT NOT NULL CHECK (alg IN ('EdDSA', 'Ed25519', 'ES256', 'RS256')),
  jwk             TEXT NOT NULL CHECK (json_type(jwk) = 'object'),
  status          TEXT NOT NULL CHECK (status IN ('next', 'active', 'retired')),
  created_at      INTEGER NOT NULL,
  activated_at    INTEGER,
  retired_at      INTEGER,
  published_until INTEGER,
  CHECK (status <> 'next' OR activated_at IS NULL),
  CHECK (status <> 'active' OR activated_at IS NOT NULL),
  CHECK ((status = 'retired') = (retired_at IS NOT NULL)),
  CHECK ((status = 'retired') = (published_until IS NOT NULL))
) STRICT, WITHOUT ROWID;
INSERT INTO signing_key_by_alg
  SELECT kid, 'EdDSA', json_object('crv', 'Ed25519', 'kty', 'OKP', 'x', x), status, created_at,
         iif(status = 'next', NULL, created_at), iif(status = 'retired', created_at, NULL),
         iif(status = 'retired', created_at, NULL)
    FROM signing_key;
DROP TABLE signing_key;
ALTER TABLE signing_key_by_alg RENAME TO signing_key;
CREATE UNIQUE INDEX signing_key_in_use ON signing_key (alg, status) WHERE status <> 'retired';
${noteEach('signing_key', () => noteOne("''"))}
`;
