/**
 * Makes a page of the feed of a slice of the registry.
 *
 * Units   sizes in bytes.
 * Errors  none.
 * Source  DESIGN 4 (Trust feed).
 *
 * @module
 */
import {
  type FeedClient,
  MAX_FEED_CLIENT_KEYS,
  MAX_FEED_PAGE_BYTES,
  MAX_SCOPE_LENGTH,
} from '@latchkey/shared';
import { expandPermission } from '../oauth/resource.js';
import { grantScope } from '../oauth/scope-grant.js';
import type { FeedEntry, FeedSlice } from '../registry/feed-store.js';

/** Leaves room for what stands beside the clients. */
const CLIENTS_BYTES = MAX_FEED_PAGE_BYTES / 2;
/** At least what a client without keys and scope takes, and a key. */
const CLIENT_BYTES = 128;
const KEY_BYTES = 64;

/** What the token endpoint would grant to who asks for everything; nothing if that cannot be written. */
function scopeOf({ id, labels, permissions }: FeedEntry): string {
  const granted = permissions.map((permission) => expandPermission(permission, id, labels));
  const scope = grantScope({ granted, narrowsScope: false }, undefined);
  return scope.length > MAX_SCOPE_LENGTH ? '' : scope;
}

function toFeedClient(entry: FeedEntry): FeedClient {
  const { id, kind, status, mayMint, tokensNotBefore } = entry;
  // The newest keys; more than these nobody should have.
  const keys = entry.keys.slice(-MAX_FEED_CLIENT_KEYS);
  return { id, kind, status, mayMint, tokensNotBefore, keys, scope: scopeOf(entry) };
}

export interface PageContent {
  readonly clients: readonly FeedClient[];
  readonly to: number;
  readonly hasMore: boolean;
}

/** The clients of the slice, or as many of the first as fit into a page. */
export function toPageContent({ entries, to, hasMore }: FeedSlice): PageContent {
  const clients: FeedClient[] = [];
  let sizeBytes = 0;
  for (const entry of entries) {
    const client = toFeedClient(entry);
    sizeBytes += CLIENT_BYTES + KEY_BYTES * client.keys.length + client.scope.length;
    const previous = entries[clients.length - 1];
    if (sizeBytes > CLIENTS_BYTES && previous !== undefined) {
      return { clients, to: previous.sequence || to, hasMore: true };
    }
    clients.push(client);
  }
  return { clients, to, hasMore };
}
