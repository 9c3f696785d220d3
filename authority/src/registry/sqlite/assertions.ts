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
import type { Clock } from '@latchkey/shared';
import type { Database } from 'better-sqlite3';
import type { SpentAssertion } from '../registry.js';

/** Rows that one insert may sweep: more than one, so that sweeping keeps up with inserting. */
const SWEEP_LIMIT = 8;

export interface Assertions {
  spend(assertion: SpentAssertion): boolean;
}

export function createAssertions({ db, clock }: { db: Database; clock: Clock }): Assertions {
  // One statement checks and spends: of any number of equal assertions, one inserts (I6).
  const insert = db.prepare<SpentAssertion, { readonly jti: string }>(
    `INSERT INTO assertion_seen (client_id, jti, remember_until)
     VALUES (@clientId, @jti, @rememberUntil) ON CONFLICT DO NOTHING RETURNING jti`,
  );
  const sweep = db.prepare<{ now: number; limit: number }>(
    `DELETE FROM assertion_seen WHERE (client_id, jti) IN (
       SELECT client_id, jti FROM assertion_seen WHERE remember_until <= @now
        ORDER BY remember_until LIMIT @limit)`,
  );
  const spend = db.transaction((assertion: SpentAssertion): boolean => {
    const isFirst = insert.get(assertion) !== undefined;
    sweep.run({ now: clock.now(), limit: SWEEP_LIMIT });
    return isFirst;
  });
  return { spend: (assertion) => spend.immediate(assertion) };
}
