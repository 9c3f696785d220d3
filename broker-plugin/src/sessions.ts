/**
 * The plugin's own set of sessions, and the one sweep that ends them when their token expires.
 *
 * The host's table of clients is keyed by client id and can lose a live connection during a
 * takeover, so it is not relied on. Sessions are kept in buckets by the second in which they
 * expire: no timer per session, no limit to how far away that second is, and a clock that jumps in
 * either direction is only looked at, never subtracted.
 *
 * Units   instants as NumericDate.
 * Errors  none; a connection that fails to close is reported to the log and dropped.
 * Source  STANDARDS 5.3 (8, 16); DESIGN 9 (I5).
 *
 * @module
 */
import type { Allowed, Clock, Logger, NumericDate } from '@latchkey/shared';
import type { Notify } from './notices.js';
import type { SessionContext } from './verify-token.js';

/**
 * `accepted`: the token is good, CONNACK 0 is not written yet, nothing may pass.
 * `live`: between CONNACK 0 and the end. `ended`: nothing passes any more, save the will.
 */
export type SessionState = 'accepted' | 'live' | 'ended';

export interface Session {
  readonly context: SessionContext;
  readonly state: SessionState;
  /** Whether CONNACK 0 was ever written. */
  readonly hasBegun: boolean;
  /** The will as the CONNECT carried it, by identity, and why it was approved. */
  readonly will: { readonly packet: object; readonly decision: Allowed } | undefined;
}

export interface Sessions {
  open(session: {
    readonly context: SessionContext;
    readonly will: Session['will'];
    /** Ends the connection at once. */
    readonly disconnect: () => void;
  }): Session;
  /** CONNACK 0 was written. */
  begin(session: Session): void;
  /**
   * A renewal: from now on the session has these rights, until that instant. The old context is
   * gone with the same statement, so no decision sees half of each. `will`: as it stands under them.
   */
  renew(session: Session, context: SessionContext, will: Session['will']): void;
  /** The connection is gone, or has to go: disconnects when it is still there. */
  end(session: Session): void;
  /** Ends every session whose token is expired. Called about once a second. */
  sweep(): void;
  endAll(): void;
  /** The live session of a client; the newer one while a takeover is under way. */
  find(clientId: string): Session | undefined;
  readonly size: number;
}

interface Entry extends Session {
  context: SessionContext;
  will: Session['will'];
  state: SessionState;
  hasBegun: boolean;
  readonly disconnect: () => void;
}

export function createSessions(deps: {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly notify: Notify;
}): Sessions {
  const { clock, logger, notify } = deps;
  const entries = new Set<Entry>();
  const byExpiry = new Map<NumericDate, Set<Entry>>();

  const add = (entry: Entry): void => {
    const { expiresAt } = entry.context;
    entries.add(entry);
    const bucket = byExpiry.get(expiresAt);
    if (bucket === undefined) byExpiry.set(expiresAt, new Set([entry]));
    else bucket.add(entry);
  };

  const remove = (entry: Entry): void => {
    const { expiresAt } = entry.context;
    entries.delete(entry);
    const bucket = byExpiry.get(expiresAt);
    bucket?.delete(entry);
    if (bucket?.size === 0) byExpiry.delete(expiresAt);
  };

  const end = (entry: Entry): void => {
    if (entry.state === 'ended') return;
    const { clientId, expiresAt } = entry.context;
    entry.state = 'ended';
    remove(entry);
    if (entry.hasBegun && clock.now() >= expiresAt) {
      logger.info({ event: 'session.expired', clientId }, 'session expired');
      notify('expired', { clientId });
    }
    if (entry.hasBegun) logger.info({ event: 'session.closed', clientId }, 'session closed');
    try {
      entry.disconnect();
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      logger.error({ event: 'session.failed', clientId, detail }, 'a connection failed to close');
    }
  };

  return {
    open: ({ context, will, disconnect }) => {
      const entry: Entry = { context, will, disconnect, state: 'accepted', hasBegun: false };
      add(entry);
      return entry;
    },
    begin: (session) => {
      const entry = session as Entry;
      if (entry.state !== 'accepted') return;
      entry.state = 'live';
      entry.hasBegun = true;
    },
    renew: (session, context, will) => {
      const entry = session as Entry;
      if (entry.state !== 'live') return;
      remove(entry);
      entry.context = context;
      entry.will = will;
      add(entry);
    },
    end: (session) => end(session as Entry),
    sweep: () => {
      const now = clock.now();
      for (const [expiresAt, bucket] of byExpiry) {
        if (expiresAt <= now) for (const entry of bucket) end(entry);
      }
    },
    endAll: () => {
      for (const entry of entries) end(entry);
    },
    find: (clientId) =>
      [...entries].findLast(
        ({ state, context }) => state === 'live' && context.clientId === clientId,
      ),
    get size() {
      return entries.size;
    },
  };
}
