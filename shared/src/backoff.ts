/**
 * How long to wait before trying again: exponential growth with full jitter.
 *
 * Full jitter (any instant from 0 to the limit) spreads a fleet that lost its broker at one moment.
 *
 * Units   milliseconds.
 * Errors  none; pure.
 * Source  DESIGN 8 (1 s to 2 min); STANDARDS 4.4 (agent reactions).
 *
 * @module
 */

export interface BackoffRange {
  /** Limit of the first wait. */
  readonly baseMs: number;
  /** Limit that no wait exceeds. */
  readonly capMs: number;
}

/** Something cannot be reached, or says "not now". */
export const NETWORK_BACKOFF: BackoffRange = { baseMs: 1000, capMs: 120_000 };
/** Somebody refused us for a reason that only an operator can remove. */
export const OPERATOR_BACKOFF: BackoffRange = { baseMs: 60_000, capMs: 3_600_000 };

/** Greatest wait before try number `attempt`, which counts from 0. */
export function backoffLimitMs(range: BackoffRange, attempt: number): number {
  return Math.min(range.capMs, range.baseMs * 2 ** Math.min(attempt, 40));
}

/** Wait before try number `attempt` (from 0); `random` is uniform in [0, 1). */
export function backoffMs(range: BackoffRange, attempt: number, random: number): number {
  return Math.floor(random * backoffLimitMs(range, attempt));
}

/** Counts tries in a row and tells the next wait; `reset` on success. */
export interface Backoff {
  nextMs(): number;
  reset(): void;
}

export function createBackoff(range: BackoffRange, random: () => number): Backoff {
  let attempt = 0;
  return {
    nextMs: () => {
      const waitMs = backoffMs(range, attempt, random());
      attempt += 1;
      return waitMs;
    },
    reset: () => {
      attempt = 0;
    },
  };
}
