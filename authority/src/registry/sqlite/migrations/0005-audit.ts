/**
 * Migration 5: the audit log, append-only.
 *
 * Units   `at`: NumericDate.
 * Errors  whoever changes the log is refused by a trigger.
 * Source  DESIGN 5. Never edit a migration that was released; add the next one.
 *
 * @module
 */
import { CHAIN_BEGINNING } from '../../../audit/event-hash.js';

export const audit: string = `
-- AUTOINCREMENT keeps the highest sequence that ever was, so that a cut end is seen.
CREATE TABLE audit_event (
  sequence      INTEGER PRIMARY KEY AUTOINCREMENT,
  at            INTEGER NOT NULL,
  type          TEXT NOT NULL,
  actor         TEXT,
  action        TEXT NOT NULL,
  target        TEXT,
  outcome       TEXT NOT NULL CHECK (outcome IN ('ok', 'refused', 'failed')),
  client_id     TEXT,
  jti           TEXT,
  kid           TEXT,
  address       TEXT,
  detail        TEXT,
  previous_hash TEXT NOT NULL,
  hash          TEXT NOT NULL
) STRICT;
CREATE INDEX audit_event_by_at ON audit_event (at);

-- The one row: everything up to this event may go, since it is older than is kept.
CREATE TABLE audit_checkpoint (
  id       INTEGER PRIMARY KEY CHECK (id = 1),
  sequence INTEGER NOT NULL,
  hash     TEXT NOT NULL
) STRICT;
INSERT INTO audit_checkpoint (id, sequence, hash) VALUES (1, 0, '${CHAIN_BEGINNING.hash}');

CREATE TRIGGER audit_event_is_appended BEFORE INSERT ON audit_event
  WHEN NEW.sequence <= (SELECT max(sequence) FROM audit_event)
  BEGIN SELECT RAISE(ABORT, 'audit events are only appended'); END;
CREATE TRIGGER audit_event_is_never_changed BEFORE UPDATE ON audit_event
  BEGIN SELECT RAISE(ABORT, 'audit events are never changed'); END;
CREATE TRIGGER audit_event_stays BEFORE DELETE ON audit_event
  WHEN OLD.sequence > (SELECT sequence FROM audit_checkpoint)
  BEGIN SELECT RAISE(ABORT, 'audit events go only when they are too old to be kept'); END;
CREATE TRIGGER audit_checkpoint_advances BEFORE UPDATE ON audit_checkpoint
  WHEN NEW.sequence <= OLD.sequence
    OR NEW.hash IS NOT (SELECT hash FROM audit_event WHERE sequence = NEW.sequence)
  BEGIN SELECT RAISE(ABORT, 'the audit checkpoint advances to an event'); END;
CREATE TRIGGER audit_checkpoint_stays BEFORE DELETE ON audit_checkpoint
  BEGIN SELECT RAISE(ABORT, 'the audit checkpoint stays'); END;
`;
