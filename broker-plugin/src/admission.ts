/**
 * Whether the client of a good token may come in now, and what the registry leaves of its rights.
 *
 * A token says what was true when it was made. The registry says what is true now, so it is asked
 * each time: when a client connects, when it renews, and whenever the registry changes. Tokens of
 * other issuers are none of its business.
 *
 * Units   instants as NumericDate, milliseconds where a name says so.
 * Errors  `InvalidTokenError`: refused, whoever asks and whyever. `UnavailableError`: cannot be said
 *         yet; the client tries again.
 * Source  DESIGN 3, 8, 9 (I5, I7, I8); STANDARDS 6 (27).
 *
 * @module
 */
import {
  type ClientId,
  type Clock,
  type FeedClient,
  InvalidTokenError,
  type Issuer,
  rightsCover,
  scopesOf,
  TOKEN_CLOCK_TOLERANCE_SECONDS,
  type TopicRights,
  UnavailableError,
} from '@latchkey/shared';
import type { RightsOf } from './shared-rights.js';
import type { ClientTable } from './trust/client-table.js';
import { assertFresh, findMintingKey } from './trust/minted-token.js';
import {
  type Admit,
  INVALID_TOKEN,
  type SessionContext,
  type VerifiedToken,
} from './verify-token.js';

export interface Admissions {
  readonly admit: Admit;
  /**
   * What a context is now: the same object when the registry changed nothing about it. Throws
   * `InvalidTokenError` when its client may not be here any more.
   */
  readonly again: (context: SessionContext) => SessionContext;
}

/** How long a CONNECT waits for the change that registers its client. Changes take some 10 ms. */
const REGISTRATION_WAIT_MS = 1000;
/** Clients that wait at once; each is a connection that a valid token opened. */
const MAX_WAITING = 1000;

/** For brokers that follow no trust feed: a good token is all that is known. */
export const admitAll: Admissions = Object.freeze({
  admit: (token: VerifiedToken) => token,
  again: (context: SessionContext) => context,
});

function refuse(detail: string): never {
  throw new InvalidTokenError(INVALID_TOKEN, { detail });
}

export function createAdmissions(deps: {
  readonly issuer: Issuer;
  readonly clients: ClientTable;
  readonly clock: Clock;
  readonly rightsOf: RightsOf;
  readonly maxStalenessSeconds: number;
}): Admissions {
  const { issuer, clients, clock, rightsOf, maxStalenessSeconds } = deps;
  const waiting = new Map<ClientId, Set<() => void>>();
  let waitingCount = 0;

  clients.onChange((changed) => {
    const ids = changed === 'all' ? waiting.keys() : changed.map(({ id }) => id);
    for (const id of ids) for (const wake of waiting.get(id) ?? []) wake();
  });

  const isOurs = ({ thirdParty }: VerifiedToken): boolean => thirdParty === undefined;
  /** What our authority vouches for and did not issue. */
  const isMinted = (token: VerifiedToken): boolean => isOurs(token) && token.issuer !== issuer;

  /** Resolves when the client changes, and in any case after a while. */
  const untilChanged = async (id: ClientId): Promise<void> => {
    if (waitingCount >= MAX_WAITING) return;
    const over = new AbortController();
    const wake = () => over.abort();
    const same = waiting.get(id) ?? new Set();
    waiting.set(id, same.add(wake));
    waitingCount += 1;
    await clock.sleep(REGISTRATION_WAIT_MS, over.signal).catch(() => undefined);
    waitingCount -= 1;
    same.delete(wake);
    if (same.size === 0 && waiting.get(id) === same) waiting.delete(id);
  };

  /**
   * A client that connects right after its registration can be ahead of the feed. That it is not
   * known counts only once the authority was heard after it issued the token, by either clock.
   */
  const findRegistered = async (token: VerifiedToken): Promise<FeedClient> => {
    const { clientId, issuedAt } = token;
    const known = clients.find(clientId);
    if (known !== undefined) return known;
    if (isMinted(token)) return refuse('client: not registered');
    const isCertain = () => (clients.freshAt ?? 0) > issuedAt + TOKEN_CLOCK_TOLERANCE_SECONDS;
    if (!isCertain()) {
      await untilChanged(clientId);
      const registered = clients.find(clientId);
      if (registered !== undefined) return registered;
    }
    if (isCertain()) return refuse('client: not registered');
    throw new UnavailableError('the client is not known yet', {
      detail: 'client: not registered, as far as the trust feed tells',
    });
  };

  const ceilingOf = ({ id, scope }: FeedClient, token: VerifiedToken): TopicRights | undefined => {
    const ceiling = rightsOf(scope, id);
    return scopesOf(token.rights).every((one) => rightsCover(ceiling, one)) ? undefined : ceiling;
  };

  /** The registry's word on a token of a client that it has. */
  const judge = (client: FeedClient, token: VerifiedToken): SessionContext => {
    if (client.status !== 'active') return refuse(`client: ${client.status}`);
    if (token.issuedAt < client.tokensNotBefore) return refuse('not-before: the token is void');
    let { expiresAt } = token;
    if (isMinted(token)) {
      const key = findMintingKey(client, token.kid, clock.now());
      if (key === undefined) return refuse('key: the client may not mint with it now');
      expiresAt = Math.min(expiresAt, key.expiresAt ?? expiresAt);
    }
    const ceiling = ceilingOf(client, token);
    if (ceiling === undefined && expiresAt === token.expiresAt) return token;
    return Object.freeze({ ...token, expiresAt, verified: token, ...(ceiling && { ceiling }) });
  };

  return {
    admit: async (token) => {
      if (!isOurs(token)) return token;
      if (isMinted(token)) assertFresh(clients, clock.now(), maxStalenessSeconds);
      else if (!clients.isWhole) return token;
      return judge(await findRegistered(token), token);
    },
    again: (context) => {
      const token = context.verified ?? context;
      if (!isOurs(token) || !clients.isWhole) return context;
      const client = clients.find(token.clientId);
      if (client === undefined) return refuse('client: not registered');
      const next = judge(client, token);
      const isSame = next.ceiling === context.ceiling && next.expiresAt === context.expiresAt;
      return isSame ? context : next;
    },
  };
}
