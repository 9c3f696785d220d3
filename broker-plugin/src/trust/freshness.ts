/**
 * How old the broker's knowledge of the authority's clients is, and when that is too old.
 *
 * Units   seconds; instants as NumericDate by this machine's clock.
 * Errors  none.
 * Source  DESIGN 8 (feed stale beyond `maxStalenessSeconds`).
 *
 * @module
 */
import {
  type Clock,
  FEED_CLOCK_TOLERANCE_SECONDS,
  type Logger,
  type NumericDate,
} from '@latchkey/shared';
import type { ClientTable } from './client-table.js';

/** Age of a page that was verified at `freshAt`; `Infinity` when nobody knows. */
export function ageAt(freshAt: NumericDate | undefined, now: NumericDate): number {
  // A page from the future: this clock went back, and nobody knows how far.
  if (freshAt === undefined || freshAt > now + FEED_CLOCK_TOLERANCE_SECONDS) {
    return Number.POSITIVE_INFINITY;
  }
  return Math.max(0, now - freshAt);
}

/** Whether the table is known whole, and well enough to say that a client may still mint. */
export function isFreshAt(
  { isWhole, freshAt }: Pick<ClientTable, 'isWhole' | 'freshAt'>,
  now: NumericDate,
  maxStalenessSeconds: number,
): boolean {
  return isWhole && ageAt(freshAt, now) <= maxStalenessSeconds;
}

export interface Freshness {
  /** Since the last page was verified; `Infinity` before the first, and when this clock went back. */
  ageSeconds(): number;
  /** Logs when it became too old, and when it is fresh again. To be called each second. */
  sweep(): void;
}

export function createFreshness(deps: {
  readonly table: Pick<ClientTable, 'freshAt' | 'isWhole'>;
  readonly maxStalenessSeconds: number;
  readonly clock: Clock;
  readonly logger: Logger;
}): Freshness {
  const { table, maxStalenessSeconds, clock, logger } = deps;
  let wasFresh: boolean | undefined;

  return {
    ageSeconds: () => ageAt(table.freshAt, clock.now()),
    sweep: () => {
      const isNow = isFreshAt(table, clock.now(), maxStalenessSeconds);
      if (isNow === wasFresh) return;
      const isFirst = wasFresh === undefined;
      wasFresh = isNow;
      if (isNow && isFirst) return;
      const freshAt = table.freshAt ?? null;
      if (isNow) {
        logger.info({ event: 'feed.fresh', freshAt }, 'the trust feed is up to date again');
      } else if (table.isWhole) {
        const fields = { event: 'feed.stale', freshAt, maxStalenessSeconds };
        logger.error(fields, 'the trust feed is too old: minted tokens are refused');
      } else {
        wasFresh = undefined; // a replica that was never whole is no news
      }
    },
  };
}
