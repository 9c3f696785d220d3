/**
 * Rate limits: token buckets in bounded memory.
 *
 * Our own, since @fastify/rate-limit counts in fixed windows, which let twice the limit through at
 * their border, and reads the machine's clock, which tests cannot drive.
 *
 * Units   `perSecond`: tokens that come back in a second; `burst`: tokens of a full bucket;
 *         `retryAfterSeconds`: whole seconds, 1 or more.
 * Errors  `RateLimitedError` (429), with the time after which one more request is allowed.
 * Source  RFC 6585 4 (429), RFC 9110 10.2.3 (Retry-After); DESIGN 9 (I11).
 *
 * @module
 */
import { type Clock, OAuthError } from '@latchkey/shared';

export interface RateLimit {
  readonly perSecond: number;
  readonly burst: number;
}

/** Too many requests. OAuth has no code for it; this one makes clients wait and try again. */
export class RateLimitedError extends OAuthError {
  readonly error = 'temporarily_unavailable';
  readonly status = 429;
  readonly retryAfterSeconds: number;

  constructor(retryAfterSeconds: number) {
    super('too many requests: wait as long as Retry-After says');
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

export interface RateLimiter {
  /** Takes a token from the bucket of `key`, or throws `RateLimitedError`. */
  take(key: string): void;
  /** Throws as `take` would, and takes nothing. */
  check(key: string): void;
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

  const bucketOf = (key: string, nowMs: number): Bucket => {
    const known = buckets.get(key);
    if (known === undefined) {
      const oldest = buckets.keys().next();
      if (buckets.size >= maxBuckets && !oldest.done) buckets.delete(oldest.value);
      return { tokens: burst, filledAtMs: nowMs };
    }
    buckets.delete(key);
    // A clock that was set back gives nothing and takes nothing.
    const elapsedMs = Math.max(0, nowMs - known.filledAtMs);
    const tokens = Math.min(burst, known.tokens + (elapsedMs / 1000) * perSecond);
    return { tokens, filledAtMs: nowMs };
  };

  const filledBucket = (key: string): Bucket => {
    const bucket = bucketOf(key, clock.nowMs());
    buckets.set(key, bucket);
    return bucket;
  };

  const check = (key: string): Bucket => {
    const bucket = filledBucket(key);
    if (bucket.tokens >= 1) return bucket;
    throw new RateLimitedError(Math.max(1, Math.ceil((1 - bucket.tokens) / perSecond)));
  };

  return {
    take: (key) => {
      check(key).tokens -= 1;
    },
    check: (key) => {
      check(key);
    },
    count: (key) => {
      const bucket = filledBucket(key);
      bucket.tokens = Math.max(0, bucket.tokens - 1);
    },
    size: () => buckets.size,
  };
}
