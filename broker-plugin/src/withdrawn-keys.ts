/**
 * Ends the sessions whose token was signed with a key that the authority took back.
 *
 * Nobody can tell such a token from one that a thief made with the stolen key, so all of them end, and
 * their clients come back with new ones. It is done in slices, and the broker goes on between them.
 *
 * Units   milliseconds where a name says so.
 * Errors  none.
 * Source  DESIGN 8 (signing key stolen), 9 (I5).
 *
 * @module
 */
import type { Clock, Issuer } from '@latchkey/shared';
import type { Sessions } from './sessions.js';

/** Ended at once, which takes a few milliseconds. */
const SLICE = 50;

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** What is to be called when a key is gone. */
export function createKeyWithdrawal(deps: {
  /** Of the authority; third parties' tokens run out by themselves. */
  readonly issuer: Issuer | undefined;
  readonly sessions: Pick<Sessions, 'clientIds' | 'ofClient' | 'end'>;
  readonly isTrusted: (kid: string) => boolean;
  readonly clock: Clock;
  /** A session can still begin so long after its token was verified. */
  readonly lateMs: number;
  readonly signal: AbortSignal;
}): () => void {
  const { issuer, sessions, isTrusted, clock, lateMs, signal } = deps;

  const endSessions = async (): Promise<void> => {
    let count = 0;
    for (const id of sessions.clientIds()) {
      for (const session of sessions.ofClient(id)) {
        const { issuer: signedBy, kid } = session.context;
        if (signedBy !== issuer || (kid !== undefined && isTrusted(kid))) continue;
        sessions.end(session, 'revoked');
        count += 1;
        if (count % SLICE === 0) await nextTurn();
      }
    }
  };

  return () => {
    void endSessions();
    clock.sleep(lateMs, signal).then(endSessions, () => undefined); // closed
  };
}
