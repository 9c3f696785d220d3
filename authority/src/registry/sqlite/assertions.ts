/**
 * Spent assertions in SQLite: each (`client_id`, `jti`) is good once.
 *
 * Units   NumericDate.
 * Errors  none of its own.
 * Source  RFC 7523 3 (item 7); STANDARDS 2.3 step 7. The two columns are the key, never the token's
 *         text, which has many spellings, and never a joined string, in which two pairs could meet.
 *
 * @module
 */
import {
  ASSERTION_CLOCK_TOLERANCE_SECONDS,
  ASSERTION_MAX_LIFETIME_SECONDS,
  type Clock,
} from '@latchkey/shared';
import type { Database } from 'better-sqlite3';
import type { SpentAssertion } from '../registry.js';
import { createSweepTime } from './sweep-time.js';

/** Every so many inserts sweep, so that most do only what they are for. */
const SWEEP_EVERY = 16;
/** Rows that a sweep may delete: more than were inserted since the one before, so that it keeps up. */
const SWEEP_LIMIT = 8 * SWEEP_EVERY;

/** As long as an assertion of a clock that is ahead may be good. */
const HOLD_MS = (ASSERTION_MAX_LIFETIME_SECONDS + 2 * ASSERTION_CLOCK_TOLERANCE_SECONDS) * 1000;

export interface Assertions {
  /** Inside a transaction, which makes it durable. */
  spend(assertion: SpentAssertion): boolean;
}

export function createAssertions({ db, clock }: { db: Database; clock: Clock }): Assertions {
  // One statement checks and spends: of any number of equal assertions, one inserts (I6).
  const insert = db.prepare<SpentAssertion>(
    `INSERT INTO assertion_seen (client_id, jti, remember_until)
     VALUES (@clientId, @jti, @rememberUntil) ON CONFLICT DO NOTHING`,
  );
  const sweep = db.prepare<{ now: number; limit: number }>(
    `DELETE FROM assertion_seen WHERE (client_id, jti) IN (
       SELECT client_id, jti FROM assertion_seen WHERE remember_until <= @now
        ORDER BY remember_until LIMIT @limit)`,
  );
  const sweepTime = createSweepTime(clock, HOLD_MS);
  let inserts = 0;
  return {
    spend: (assertion) => {
      const isFirst = insert.run(assertion).changes === 1;
      const now = inserts % SWEEP_EVERY === 0 ? sweepTime() : undefined;
      if (now !== undefined) sweep.run({ now, limit: SWEEP_LIMIT });
      inserts += 1;
      return isFirst;
    },
  };
}
