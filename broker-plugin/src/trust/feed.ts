/**
 * Follows the trust feed: asks for the next page, verifies it, applies it, and asks again.
 *
 * Nothing is applied that is not the very next page of the history the replica is of, signed by a key
 * that the issuer publishes and made for this one request. Whatever else comes leaves the replica as
 * it was, and is asked for again, slower each time.
 *
 * Units   milliseconds where a name says so.
 * Errors  none leave; failures are logged, once each, and counted.
 * Source  DESIGN 4 (Trust feed), 8; STANDARDS 6.
 *
 * @module
 */
import {
  type Clock,
  createBackoff,
  FEED_MAX_WAIT_SECONDS,
  type FeedPage,
  type FeedReader,
  feedQuery,
  fitFeedPage,
  type HttpClient,
  type Issuer,
  type Logger,
  MAX_FEED_PAGE_BYTES,
  newFeedNonce,
  type ResourceId,
  verifyFeedPage,
} from '@latchkey/shared';
import type { FeedAccess } from './feed-access.js';
import { describeFeedFailure, FeedAnswerError } from './feed-failure.js';
import type { IssuerKeys } from './jwks.js';
import type { Replica } from './replica.js';

export interface Feed {
  /** Follows the feed until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
  /** Pages that were applied. */
  readonly pages: number;
  /** How often it failed, by reason. */
  readonly failures: ReadonlyMap<string, number>;
}

/** For the answer itself, beyond the time that it may wait for a change. */
const ANSWER_MS = 15_000;
/** Pages that bring nothing are not asked for more often than this. */
const LEAST_MS = 1_000;
const BACKOFF = { baseMs: 1_000, capMs: 60_000 } as const;

export function createFeed(deps: {
  readonly issuer: Issuer;
  readonly resource: ResourceId;
  readonly replica: Replica;
  readonly keys: Pick<IssuerKeys, 'findPageKey' | 'adopt'>;
  readonly access: FeedAccess;
  readonly http: HttpClient;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}): Feed {
  const { issuer, resource, replica, keys, access, http, clock, logger, random } = deps;
  const backoff = createBackoff(BACKOFF, random);
  const failures = new Map<string, number>();
  let pages = 0;
  let hasMore = true;
  let lastFailure: string | undefined;

  const fetchPage = async (
    query: URLSearchParams,
    waitSeconds: number,
    signal: AbortSignal,
  ): Promise<Buffer> => {
    for (let isSecond = false; ; isSecond = true) {
      const token = await access.token(signal);
      const response = await http.request({
        method: 'GET',
        url: `${issuer}/feed?${query}`,
        headers: { authorization: `Bearer ${token}` },
        timeoutMs: waitSeconds * 1000 + ANSWER_MS,
        maxBodyBytes: MAX_FEED_PAGE_BYTES,
        signal,
      });
      if (response.status === 200) return response.bytes;
      if (response.status === 401) access.discard(token);
      // A key that was replaced at once takes our token with it: once, a new one is the answer.
      if (response.status !== 401 || isSecond) throw new FeedAnswerError(response, clock.nowMs());
    }
  };

  const tell = (before: Replica['position'], isRestart: boolean): void => {
    const { position, size } = replica;
    if (isRestart && before.at !== 'start') {
      const fields = { event: 'feed.restarted', issuer };
      logger.warn(
        fields,
        'the authority begins another history; the old replica serves until it is whole',
      );
    }
    if (position.at === 'changes' && before.at !== 'changes') {
      const fields = { event: 'feed.whole', issuer, clients: size, sequence: position.sequence };
      logger.info(fields, 'replica of the trust feed is whole');
    }
    if (lastFailure === undefined) return;
    lastFailure = undefined;
    logger.info({ event: 'feed.recovered', issuer }, 'the trust feed is read again');
  };

  const readPage = async (signal: AbortSignal): Promise<FeedPage> => {
    const { position, lastIssuedAt } = replica;
    const reader: FeedReader = { issuer, resource, nonce: newFeedNonce(), position, lastIssuedAt };
    const waitSeconds = position.at === 'changes' && !hasMore ? FEED_MAX_WAIT_SECONDS : 0;
    const message = await fetchPage(feedQuery(reader, waitSeconds), waitSeconds, signal);
    const page = await verifyFeedPage(message, keys.findPageKey);
    const step = fitFeedPage(page, reader);
    signal.throwIfAborted();
    replica.apply(page, step, clock.now());
    keys.adopt(page.issuerKeys);
    hasMore = page.hasMore;
    pages += 1;
    tell(position, step.isRestart);
    return page;
  };

  /** Logs a failure the first time, and says how long to wait. */
  const fail = (error: unknown): number => {
    const { reason, detail, advice, retryAfterMs } = describeFeedFailure(error);
    failures.set(reason, (failures.get(reason) ?? 0) + 1);
    const waitMs = retryAfterMs + backoff.nextMs();
    const isNew = lastFailure !== reason;
    const level = isNew ? (advice === undefined ? 'warn' : 'error') : 'debug';
    const more = reason === 'unexpected' ? { err: error } : {};
    const fields = { event: 'feed.failed', issuer, reason, detail, advice, waitMs, ...more };
    logger[level](fields, 'the trust feed cannot be followed');
    lastFailure = reason;
    return waitMs;
  };

  const followOnce = async (signal: AbortSignal): Promise<number> => {
    const startedMs = clock.nowMs();
    try {
      const page = await readPage(signal);
      backoff.reset();
      if (page.hasMore || page.to > page.from) return 0;
      // Whoever answers "nothing new" without waiting must not keep both of us busy.
      return Math.max(0, LEAST_MS - Math.abs(clock.nowMs() - startedMs));
    } catch (error) {
      return signal.aborted ? 0 : fail(error);
    }
  };

  return {
    run: async (signal) => {
      while (!signal.aborted) {
        const waitMs = await followOnce(signal);
        if (waitMs > 0) await clock.sleep(waitMs, signal).catch(() => undefined);
      }
    },
    get pages() {
      return pages;
    },
    failures,
  };
}
