/**
 * The trust feed: signed pages by which brokers keep a replica of keys, clients and rights.
 *
 * A reader holds a position. Each page says from which position it goes and to which it leads, and
 * repeats the reader's nonce: a page that was altered, replayed, skipped or made for another reader
 * does not fit and is refused. A change names a client and carries all of its present state, so that
 * one page can stand for a thousand changes, and applying a change twice does no harm.
 *
 * Units   NumericDate; `sequence` counts changes of one registry; tolerance in seconds.
 * Errors  `FeedError` for a genuine page that does not fit.
 * Source  DESIGN 4 (Trust feed).
 *
 * @module
 */
import { randomBytes } from 'node:crypto';
import type { ClientId, Issuer, Kid, ResourceId } from './ids.js';
import type { IssuerKey } from './issuer-keys.js';
import type { PublicJwk } from './keys.js';
import type { NumericDate } from './time.js';

/** Scope that lets a client read the feed. */
export const FEED_SCOPE = 'feed:read';
/** Longest that the authority lets a reader wait for a change. */
export const FEED_MAX_WAIT_SECONDS = 30;
/** How far the authority's clock may be set back between two pages. */
export const FEED_CLOCK_TOLERANCE_SECONDS = 60;

export const FEED_CLIENT_KINDS = ['device', 'service'] as const;
export const FEED_CLIENT_STATUSES = ['active', 'suspended', 'revoked', 'deleted'] as const;

/** A key with which the client signs assertions, and tokens if it may mint. */
export interface FeedKey {
  readonly kid: Kid;
  readonly jwk: PublicJwk;
  /** Not usable before; `undefined`: from the start. */
  readonly notBefore: NumericDate | undefined;
  /** Not usable from then on; `undefined`: for ever. */
  readonly expiresAt: NumericDate | undefined;
}

/** All that a broker needs to know of a client. */
export interface FeedClient {
  readonly id: ClientId;
  readonly kind: (typeof FEED_CLIENT_KINDS)[number];
  readonly status: (typeof FEED_CLIENT_STATUSES)[number];
  readonly mayMint: boolean;
  /** Tokens issued before are void; 0: none is. */
  readonly tokensNotBefore: NumericDate;
  /** Empty unless the client is active. */
  readonly keys: readonly FeedKey[];
  /** What an active client has at the page's resource, expanded; empty: nothing. */
  readonly scope: string;
}

export interface FeedPage {
  readonly issuer: Issuer;
  readonly resource: ResourceId;
  /** Names one history of one registry; after a restore from a backup it is another. */
  readonly feedId: string;
  /** `snapshot`: clients in the order of their ids. `changes`: those changed since `from`, in that order. */
  readonly kind: 'snapshot' | 'changes';
  /** The reader's sequence; 0 in a snapshot. */
  readonly from: number;
  /** Sequence that the page leads to; in a snapshot, that of the page before it was read. */
  readonly to: number;
  /** Last id of the snapshot page before this one; empty on the first, and for changes. */
  readonly afterId: string;
  /** Whether there is more now. */
  readonly hasMore: boolean;
  readonly issuedAt: NumericDate;
  /** Copied from the request. */
  readonly nonce: string;
  /** All keys of the issuer that are valid now, for tokens and for pages; any other is not. */
  readonly issuerKeys: readonly IssuerKey[];
  readonly clients: readonly FeedClient[];
}

/** How far a reader has come. */
export type FeedPosition =
  | { readonly at: 'start' }
  /** Within a snapshot that began at `sequence`. */
  | {
      readonly at: 'snapshot';
      readonly feedId: string;
      readonly sequence: number;
      readonly afterId: string;
    }
  | { readonly at: 'changes'; readonly feedId: string; readonly sequence: number };

/** What a reader knows when a page comes in. */
export interface FeedReader {
  readonly issuer: Issuer;
  readonly resource: ResourceId;
  /** Of the request that the page answers. */
  readonly nonce: string;
  readonly position: FeedPosition;
  /** `issuedAt` of the last page that fitted; 0 before the first. */
  readonly lastIssuedAt: NumericDate;
}

/** What a page that fits means. */
export interface FeedStep {
  /** The page begins a snapshot: what the reader had is to be replaced once the snapshot is whole. */
  readonly isRestart: boolean;
  /** Position once the page is applied; the replica is whole when it is `changes`. */
  readonly position: FeedPosition;
}

export type FeedRefusal =
  | 'malformed'
  | 'issuer'
  | 'resource'
  | 'nonce'
  | 'feed-id'
  | 'gap'
  | 'stale'
  | 'rollback';

/** A page that is genuine and does not fit the reader. */
export class FeedError extends Error {
  readonly reason: FeedRefusal;

  constructor(reason: FeedRefusal, message: string) {
    super(message);
    this.name = 'FeedError';
    this.reason = reason;
  }
}

/** 128 random bits, base64url: one for each request. */
export function newFeedNonce(): string {
  return randomBytes(16).toString('base64url');
}

/** The query of a request for the page that comes next. */
export function feedQuery(
  { resource, nonce, position }: Pick<FeedReader, 'resource' | 'nonce' | 'position'>,
  waitSeconds = 0,
): URLSearchParams {
  const query = new URLSearchParams({ after: '0', resource, nonce });
  if (position.at !== 'start') query.set('feed_id', position.feedId);
  if (position.at === 'snapshot') query.set('snapshot_after', position.afterId);
  if (position.at === 'changes') query.set('after', String(position.sequence));
  if (waitSeconds > 0) query.set('wait', String(waitSeconds));
  return query;
}

function refuse(reason: FeedRefusal, message: string): never {
  throw new FeedError(reason, message);
}

function checkAddressee(page: FeedPage, reader: FeedReader): void {
  if (page.issuer !== reader.issuer) refuse('issuer', 'the page is of another issuer');
  if (page.resource !== reader.resource) refuse('resource', 'the page is for another resource');
  if (page.nonce !== reader.nonce) refuse('nonce', 'the page answers another request');
  if (page.issuedAt < reader.lastIssuedAt - FEED_CLOCK_TOLERANCE_SECONDS) {
    refuse('stale', 'the page is older than the last one');
  }
}

function fitSnapshot(page: FeedPage, { position }: FeedReader): FeedStep {
  const { feedId, afterId, clients } = page;
  const isRestart = afterId === '';
  let sequence = page.to;
  if (isRestart && position.at !== 'start') {
    // The authority forgot what it told us, and nobody said that this is another history.
    if (feedId === position.feedId && page.to < position.sequence) {
      refuse('rollback', 'the snapshot is older than what the reader has');
    }
  } else if (!isRestart) {
    if (position.at !== 'snapshot')
      return refuse('gap', 'the page goes on with no snapshot of ours');
    if (feedId !== position.feedId) refuse('feed-id', 'the page is of another feed');
    if (afterId !== position.afterId) refuse('gap', 'the page does not follow the last one');
    if (page.to < position.sequence) refuse('stale', 'the page is older than the last one');
    // What changed while the snapshot was read comes again as changes since it began.
    sequence = position.sequence;
  }
  const last = clients.at(-1);
  if (!page.hasMore) return { isRestart, position: { at: 'changes', feedId, sequence } };
  if (last === undefined) return refuse('malformed', 'an empty page promises more');
  return { isRestart, position: { at: 'snapshot', feedId, sequence, afterId: last.id } };
}

function fitChanges(page: FeedPage, { position }: FeedReader): FeedStep {
  const { feedId, from, to } = page;
  if (position.at !== 'changes') return refuse('gap', 'changes came before the snapshot was whole');
  if (feedId !== position.feedId) refuse('feed-id', 'the page is of another feed');
  if (from > position.sequence) refuse('gap', 'changes before this page are missing');
  if (from < position.sequence) refuse('stale', 'the page is older than the last one');
  return { isRestart: false, position: { at: 'changes', feedId, sequence: to } };
}

/** Says where a genuine page leads the reader, or refuses it with the reason. */
export function fitFeedPage(page: FeedPage, reader: FeedReader): FeedStep {
  checkAddressee(page, reader);
  return page.kind === 'snapshot' ? fitSnapshot(page, reader) : fitChanges(page, reader);
}
