/**
 * The plugin's own set of sessions, and the one sweep that ends them when their token expires.
 *
 * The host's table of clients is keyed by client id and can lose a live connection during a
 * takeover, so it is not relied on. Sessions are kept in buckets by the second in which they
 * expire: no timer per session, no limit to how far away that second is, and a clock that jumps in
 * either direction is only looked at, never subtracted. A second look-up is by client id, since a
 * client can have several connections, and whatever concerns it concerns them all.
 *
 * Ending a session is some work, so many that end at once are ended in slices: between them the
 * broker goes on, and those who wait are refused already, for they are expired.
 *
 * Units   instants as NumericDate.
 * Errors  none; a connection that fails to close is reported to the log and dropped.
 * Source  STANDARDS 5.3 (8, 16); DESIGN 9 (I5).
 *
 * @module
 */
import type { Allowed, ClientId, Clock, Logger, NumericDate } from '@latchkey/shared';
import type { Notify } from './notices.js';
import type { SessionContext } from './verify-token.js';

/**
 * `accepted`: the token is good, CONNACK 0 is not written yet, nothing may pass.
 * `live`: between CONNACK 0 and the end. `ended`: nothing passes any more, save the will.
 */
export type SessionState = 'accepted' | 'live' | 'ended';

/**
 * Why a session ended. `revoked`: the client, its key or its token is refused from now on.
 * `lost-rights`: a subscription is no longer allowed. `closed`: everything else.
 */
export type EndReason = 'expired' | 'revoked' | 'lost-rights' | 'closed';

export interface Session {
  /** The connection, as the broker knows it. */
  readonly connection: object;
  readonly context: SessionContext;
  readonly state: SessionState;
  /** Whether CONNACK 0 was ever written. */
  readonly hasBegun: boolean;
  /** The will as the CONNECT carried it, by identity, and why it was approved. */
  readonly will: { readonly packet: object; readonly decision: Allowed } | undefined;
  /** Set when the state is `ended`, and before the connection is closed. */
  readonly endReason: EndReason | undefined;
}

export interface Sessions {
  open(session: {
    readonly connection: object;
    readonly context: SessionContext;
    readonly will: Session['will'];
    /** Ends the connection at once. */
    readonly disconnect: () => void;
  }): Session;
  /** CONNACK 0 was written. */
  begin(session: Session): void;
  /**
   * From now on the session has these rights, until that instant. The old context is gone with the
   * same statement, so no decision sees half of each. `will`: as it stands under them.
   */
  renew(session: Session, context: SessionContext, will: Session['will']): void;
  /** The connection is gone, or has to go: disconnects when it is still there. */
  end(session: Session, reason?: EndReason): void;
  /** Ends every session whose token is expired. Called about once a second. */
  sweep(): void;
  endAll(): void;
  /** The live session of a client; the newer one while a takeover is under way. */
  find(clientId: string): Session | undefined;
  /** All sessions of a client that are not ended, those before CONNACK included. */
  ofClient(clientId: string): readonly Session[];
  /** Clients that have a session now. */
  clientIds(): readonly ClientId[];
  readonly size: number;
}

interface Entry extends Session {
  endReason: EndReason | undefined;
  context: SessionContext;
  will: Session['will'];
  state: SessionState;
  hasBegun: boolean;
  readonly disconnect: () => void;
}

/** Ended at once, which takes a few milliseconds. */
const SLICE = 20;

export function createSessions(deps: {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly notify: Notify;
}): Sessions {
  const { clock, logger, notify } = deps;
  /** Nearly always one. The lists are not changed but replaced, so they can be given away. */
  const byClient = new Map<ClientId, readonly Entry[]>();
  const byExpiry = new Map<NumericDate, Set<Entry>>();
  let size = 0;
  let isSweeping = false;

  const add = (entry: Entry): void => {
    const { clientId, expiresAt } = entry.context;
    size += 1;
    const same = byClient.get(clientId);
    byClient.set(clientId, same === undefined ? [entry] : [...same, entry]);
    const bucket = byExpiry.get(expiresAt);
    if (bucket === undefined) byExpiry.set(expiresAt, new Set([entry]));
    else bucket.add(entry);
  };

  const remove = (entry: Entry): void => {
    const { clientId, expiresAt } = entry.context;
    size -= 1;
    const others = byClient.get(clientId)?.filter((other) => other !== entry) ?? [];
    if (others.length > 0) byClient.set(clientId, others);
    else byClient.delete(clientId);
    const bucket = byExpiry.get(expiresAt);
    bucket?.delete(entry);
    if (bucket?.size === 0) byExpiry.delete(expiresAt);
  };

  const tellEnd = ({ context: { clientId }, endReason }: Entry): void => {
    if (endReason === 'expired') {
      logger.info({ event: 'session.expired', clientId }, 'session expired');
      notify('expired', { clientId });
    }
    if (endReason === 'revoked' || endReason === 'lost-rights') {
      const fields = { event: 'session.revoked', clientId, reason: endReason };
      logger.info(fields, 'session revoked');
      notify('revoked', { clientId, reason: endReason });
    }
    logger.info({ event: 'session.closed', clientId }, 'session closed');
  };

  const end = (entry: Entry, reason: EndReason = 'closed'): void => {
    if (entry.state === 'ended') return;
    const { clientId, expiresAt } = entry.context;
    entry.state = 'ended';
    const isExpired = reason === 'closed' && clock.now() >= expiresAt;
    entry.endReason = isExpired ? 'expired' : reason;
    // What a client that is refused wanted to leave behind is refused too.
    if (reason === 'revoked') entry.will = undefined;
    remove(entry);
    if (entry.hasBegun) tellEnd(entry);
    try {
      entry.disconnect();
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      logger.error({ event: 'session.failed', clientId, detail }, 'a connection failed to close');
    }
  };

  /** Ends one slice of those who are expired, and comes back for the next. */
  const sweep = (): void => {
    const now = clock.now();
    let left = SLICE;
    isSweeping = false;
    for (const [expiresAt, bucket] of byExpiry) {
      if (expiresAt > now) continue;
      for (const entry of bucket) {
        if (left === 0) {
          isSweeping = true;
          setImmediate(sweep);
          return;
        }
        left -= 1;
        end(entry);
      }
    }
  };

  return {
    open: ({ connection, context, will, disconnect }) => {
      const entry: Entry = {
        connection,
        context,
        will,
        disconnect,
        state: 'accepted',
        hasBegun: false,
        endReason: undefined,
      };
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
    end: (session, reason) => end(session as Entry, reason),
    sweep: () => {
      if (!isSweeping) sweep();
    },
    endAll: () => {
      for (const same of byClient.values()) for (const entry of same) end(entry);
    },
    find: (clientId) =>
      byClient.get(clientId as ClientId)?.findLast(({ state }) => state === 'live'),
    ofClient: (clientId) => byClient.get(clientId as ClientId) ?? [],
    clientIds: () => [...byClient.keys()],
    get size() {
      return size;
    },
  };
}
