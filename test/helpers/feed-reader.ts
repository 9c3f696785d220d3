/**
 * A reader of the trust feed with its replica in memory, as a broker would be.
 *
 * @module
 */
import {
  type ClientId,
  type FeedClient,
  type FeedPage,
  type FeedPosition,
  type FeedReader,
  feedQuery,
  fitFeedPage,
  type Issuer,
  type IssuerKey,
  newFeedNonce,
  type ResourceId,
  verifyFeedPage,
} from '@latchkey/shared';

export type Replica = ReadonlyMap<ClientId, FeedClient>;

export interface MemoryReader {
  readonly position: FeedPosition;
  /** The last replica that was whole. */
  readonly replica: Replica;
  readonly issuerKeys: readonly IssuerKey[];
  /** What the next page is to fit. */
  expecting(): FeedReader;
  /** Applies a page that fits; throws and changes nothing for any other. */
  apply(page: FeedPage, expected: FeedReader): void;
}

export function createMemoryReader(issuer: Issuer, resource: ResourceId): MemoryReader {
  let position: FeedPosition = { at: 'start' };
  let building = new Map<ClientId, FeedClient>();
  let replica: Replica = building;
  let issuerKeys: readonly IssuerKey[] = [];
  let lastIssuedAt = 0;
  return {
    get position() {
      return position;
    },
    get replica() {
      return replica;
    },
    get issuerKeys() {
      return issuerKeys;
    },
    expecting: () => ({ issuer, resource, nonce: newFeedNonce(), position, lastIssuedAt }),
    apply: (page, expected) => {
      const step = fitFeedPage(page, expected);
      if (step.isRestart) building = new Map();
      for (const client of page.clients) {
        if (client.status === 'deleted') building.delete(client.id);
        else building.set(client.id, client);
      }
      if (step.position.at === 'changes') replica = building;
      position = step.position;
      issuerKeys = page.issuerKeys;
      lastIssuedAt = page.issuedAt;
    },
  };
}

export interface NetworkReader extends MemoryReader {
  /** Reads and applies one page. */
  read(waitSeconds?: number): Promise<FeedPage>;
  /** Reads until there is no more. */
  catchUp(): Promise<void>;
}

/** `fetchPage` sends a query to the feed; `trusted` are the keys that the reader begins with. */
export function createNetworkReader(options: {
  readonly issuer: Issuer;
  readonly resource: ResourceId;
  readonly trusted: () => Promise<readonly IssuerKey[]>;
  readonly fetchPage: (query: URLSearchParams) => Promise<Uint8Array>;
}): NetworkReader {
  const { issuer, resource, trusted, fetchPage } = options;
  const memory = createMemoryReader(issuer, resource);
  const read = async (waitSeconds = 0): Promise<FeedPage> => {
    const expected = memory.expecting();
    const message = await fetchPage(feedQuery(expected, waitSeconds));
    const page = await verifyFeedPage(message, async (kid) => {
      const isIt = (key: IssuerKey) => key.kid === kid;
      return memory.issuerKeys.find(isIt) ?? (await trusted()).find(isIt);
    });
    memory.apply(page, expected);
    return page;
  };
  return Object.assign(Object.create(memory) as MemoryReader, {
    read,
    catchUp: async () => {
      while ((await read()).hasMore);
    },
  });
}
