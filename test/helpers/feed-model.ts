/**
 * Pages of the trust feed by hand, and a model of a registry that makes them as the authority does.
 *
 * @module
 */
import { type FeedClient, type FeedPage, type FeedReader, parseClientId } from '@latchkey/shared';
import { AUDIENCE, ISSUER, NOW } from './jwts.ts';

export const NONCE = 'AAAAAAAAAAAAAAAAAAAAAA';
export const FEED = 'a'.repeat(32);

/** An active device without keys and rights. */
export const feedClient = (id: string, more: Partial<FeedClient> = {}): FeedClient => ({
  ...{
    id: parseClientId(id),
    kind: 'device',
    status: 'active',
    mayMint: false,
    tokensNotBefore: 0,
  },
  ...{ keys: [], scope: '' },
  ...more,
});

/** Changes from 5 to 9, of nobody. */
export const changesPage = (more: Partial<FeedPage> = {}): FeedPage => ({
  ...{ issuer: ISSUER, resource: AUDIENCE, feedId: FEED, kind: 'changes', from: 5, to: 9 },
  ...{ afterId: '', hasMore: false, issuedAt: NOW, nonce: NONCE, issuerKeys: [], clients: [] },
  ...more,
});

/** A whole snapshot at 9, of nobody. */
export const snapshotPage = (more: Partial<FeedPage> = {}): FeedPage =>
  changesPage({ kind: 'snapshot', from: 0, ...more });

export interface FeedModel {
  readonly clients: ReadonlyMap<string, FeedClient>;
  readonly sequence: number;
  /** Gives the client that scope; `undefined` deletes it. */
  change(id: string, scope: string | undefined): void;
  /** Begins another history. */
  renew(): void;
  /** The page that the position asks for, of at most `limit` clients. */
  answer(reader: FeedReader, limit: number): FeedPage;
}

/** A registry that notes changes as ours does: one row for each client. */
export function createFeedModel(): FeedModel {
  const clients = new Map<string, FeedClient>();
  const changes = new Map<string, number>();
  let sequence = 1;
  let history = 0;
  const feedIdNow = () => history.toString(16).padStart(32, '0');

  const snapshot = (feedId: string, { position, nonce }: FeedReader, limit: number): FeedPage => {
    const isOurs = position.at === 'snapshot' && position.feedId === feedId;
    const afterId = isOurs ? position.afterId : '';
    const left = [...clients.values()]
      .filter(({ id }) => id > afterId)
      .sort((a, b) => (a.id < b.id ? -1 : 1));
    const taken = left.slice(0, limit);
    return snapshotPage({
      ...{ feedId, nonce, afterId, to: sequence, clients: taken },
      hasMore: left.length > limit,
    });
  };

  return {
    change: (id, scope) => {
      if (scope === undefined && !clients.has(id)) return;
      if (scope === undefined) clients.delete(id);
      else clients.set(id, feedClient(id, { scope }));
      sequence += 1;
      changes.set(id, sequence);
    },
    renew: () => {
      history += 1;
    },
    get sequence() {
      return sequence;
    },
    clients,
    answer: (reader, limit) => {
      const { position, nonce } = reader;
      const feedId = feedIdNow();
      if (position.at !== 'changes' || position.feedId !== feedId) {
        return snapshot(feedId, reader, limit);
      }
      const from = position.sequence;
      const left = [...changes].filter(([, at]) => at > from).sort(([, a], [, b]) => a - b);
      const taken = left.slice(0, limit);
      const hasMore = left.length > limit;
      return changesPage({
        ...{ feedId, nonce, from, hasMore },
        to: hasMore ? (taken.at(-1)?.[1] as number) : sequence,
        clients: taken.map(([id]) => clients.get(id) ?? feedClient(id, { status: 'deleted' })),
      });
    },
  };
}
