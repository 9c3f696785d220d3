/**
 * Rate limits: token buckets in bounded memory.
 *
 * Our own, since @fastify/rate-limit counts in fixed windows, which let twice the limit through at
 * their border, and reads the machine's clock, which tests cannot drive.
 *
 * Units   `perSecond`: tokens that come back in a second; `burst`: tokens of a full bucket.
 * Errors  none.
 * Source  DESIGN 9 (I11).
 *
 * @module
 */
import type { Clock } from './time.js';

export interface RateLimit {
  readonly perSecond: number;
  readonly burst: number;
}

export interface RateLimiter {
  /**
   * Takes a token from the bucket of `key` and answers 0; or takes none and answers after how many
   * whole seconds, 1 or more, there is one.
   */
  take(key: string): number;
  /** Answers as `take` would, and takes nothing. */
  check(key: string): number;
  /** Takes a token if there is one, for what was checked before it was done. */
  count(key: string): void;
  /** Buckets in memory. */
  size(): number;
}

interface Bucket {
  tokens: number;
  filledAtMs: number;
}

/** About 100 bytes each. */
const MAX_BUCKETS = 50_000;

/** `maxBuckets`: default 50,000; the one that was used least recently goes first, and is full again then. */
export function createRateLimiter(
  { perSecond, burst }: RateLimit,
  { clock, maxBuckets = MAX_BUCKETS }: { readonly clock: Clock; readonly maxBuckets?: number },
): RateLimiter {
  const buckets = new Map<string, Bucket>();

  const filledBucket = (key: string): Bucket => {
    const nowMs = clock.nowMs();
    let bucket = buckets.get(key);
    if (bucket === undefined) {
      const oldest = buckets.keys().next();
      if (buckets.size >= maxBuckets && !oldest.done) buckets.delete(oldest.value);
      bucket = { tokens: burst, filledAtMs: nowMs };
    } else {
      buckets.delete(key);
      // A clock that was set back gives nothing and takes nothing.
      const elapsedMs = Math.max(0, nowMs - bucket.filledAtMs);
      bucket.tokens = Math.min(burst, bucket.tokens + (elapsedMs / 1000) * perSecond);
      bucket.filledAtMs = nowMs;
    }
    buckets.set(key, bucket);
    return bucket;
  };

  const waitSeconds = ({ tokens }: Bucket): number =>
    tokens >= 1 ? 0 : Math.max(1, Math.ceil((1 - tokens) / perSecond));

  return {
    take: (key) => {
      const bucket = filledBucket(key);
      const wait = waitSeconds(bucket);
      if (wait === 0) bucket.tokens -= 1;
      return wait;
    },
    check: (key) => waitSeconds(filledBucket(key)),
    count: (key) => {
      const bucket = filledBucket(key);
      bucket.tokens = Math.max(0, bucket.tokens - 1);
    },
    size: () => buckets.size,
  };
}
