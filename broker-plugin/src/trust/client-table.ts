/**
 * What the broker knows of the authority's clients, as the trust feed tells it.
 *
 * Units   NumericDate.
 * Errors  none; a client that is not known is `undefined`.
 * Source  DESIGN 4 (Trust feed) and 9 (I5, I8).
 *
 * @module
 */
import type { ClientId, FeedClient, NumericDate } from '@latchkey/shared';

export interface ClientTable {
  /** `undefined`: the authority has no such client. One look-up by key, synchronous. */
  find(id: ClientId): FeedClient | undefined;
  /** Whether a whole snapshot was taken once; before, nothing can be said of anybody. */
  readonly isWhole: boolean;
  /** When the last page was verified, by this machine's clock; `undefined` before the first. */
  readonly freshAt: NumericDate | undefined;
  /**
   * Calls `listener` after a change is durable, with the clients' new state, or `all` when a fresh
   * snapshot took the place of everything. Returns what ends it.
   */
  onChange(listener: (changed: readonly FeedClient[] | 'all') => void): () => void;
}
