/**
 * What the trust feed reads of the registry: clients at one resource, as they are or as they changed.
 *
 * Units   `sequence` counts changes; `limit` in clients.
 * Errors  `UnavailableError` when storage fails.
 * Source  DESIGN 4 (Trust feed).
 *
 * @module
 */
import type { ClientId, FeedKey, NumericDate, ResourceId } from '@latchkey/shared';
import type { ClientKind, ClientStatus, GrantedPermission, Labels } from './registry.js';

/** Where the registry is in its history. */
export interface FeedMark {
  /** Names this history; a registry restored from a backup begins another. */
  readonly feedId: string;
  /** Of the newest change, from 1 on. */
  readonly sequence: number;
}

/** A client as the feed tells of it, with its rights not yet expanded. */
export interface FeedEntry {
  readonly id: ClientId;
  readonly kind: ClientKind;
  readonly status: ClientStatus | 'deleted';
  readonly mayMint: boolean;
  readonly tokensNotBefore: NumericDate;
  readonly keys: readonly FeedKey[];
  readonly labels: Labels;
  /** At the resource that was asked for, in the order of their names. */
  readonly permissions: readonly Pick<GrantedPermission, 'name' | 'scopes'>[];
  /** Of the client's newest change; 0 in a snapshot. */
  readonly sequence: number;
}

/** Entries and the mark of one moment. */
export interface FeedSlice {
  readonly mark: FeedMark;
  readonly entries: readonly FeedEntry[];
  /** Sequence up to which `entries` tell of everything. */
  readonly to: number;
  readonly hasMore: boolean;
}

export interface FeedStore {
  feedMark(): Promise<FeedMark>;
  /** Clients that exist, in the order of their ids. */
  feedSnapshot(request: {
    readonly resource: ResourceId;
    /** Last id of the slice before; empty for the first. */
    readonly afterId: string;
    readonly limit: number;
  }): Promise<FeedSlice>;
  /** Clients that changed after a sequence, each once, in the order of their newest changes. */
  feedChanges(request: {
    readonly resource: ResourceId;
    readonly after: number;
    readonly limit: number;
  }): Promise<FeedSlice>;
  /** Begins another history. To be called on a registry that was restored from a backup. */
  renewFeed(): Promise<void>;
  /**
   * Calls the listener soon after each change that this process made, until the returned function is
   * called. Changes of other processes show in `feedMark` only.
   */
  onFeedChange(listener: () => void): () => void;
}
