/**
 * How old the broker's knowledge of the authority's clients is, and when that is too old.
 *
 * Units   seconds; instants as NumericDate by this machine's clock.
 * Errors  none.
 * Source  DESIGN 8 (feed stale beyond `maxStalenessSeconds`).
 *
 * @module
 */
import { type Clock, FEED_CLOCK_TOLERANCE_SECONDS, type Logger } from '@latchkey/shared';
import type { ClientTable } from './client-table.js';

export interface Freshness {
  /** Whether what the table says may still be acted upon as if it were known to be true. */
  isFresh(): boolean;
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

  const ageSeconds = (): number => {
    const { freshAt } = table;
    if (freshAt === undefined) return Number.POSITIVE_INFINITY;
    const age = clock.now() - freshAt;
    // A page from the future: nobody knows how long ago that was.
    return age < -FEED_CLOCK_TOLERANCE_SECONDS ? Number.POSITIVE_INFINITY : Math.max(0, age);
  };
  const isFresh = (): boolean => table.isWhole && ageSeconds() <= maxStalenessSeconds;

  return {
    isFresh,
    ageSeconds,
    sweep: () => {
      const isNow = isFresh();
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
