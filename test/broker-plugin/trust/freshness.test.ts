/** When what the feed told is too old: DESIGN 8. */
import { expect, test } from 'vitest';
import { createFreshness, isFreshAt } from '../../../broker-plugin/src/trust/freshness.ts';
import { createCapturedLog } from '../../helpers/captured-log.ts';
import { createDrivenClock } from '../../helpers/driven-clock.ts';

function setup(table: { freshAt: number | undefined; isWhole: boolean }) {
  const clock = createDrivenClock(1000);
  const logger = createCapturedLog();
  return {
    clock,
    logger,
    freshness: createFreshness({ table, maxStalenessSeconds: 300, clock, logger }),
  };
}

test.each([
  { name: 'now', freshAt: 1000, isWhole: true, age: 0, isFresh: true },
  { name: 'as old as may be', freshAt: 700, isWhole: true, age: 300, isFresh: true },
  { name: 'a second older', freshAt: 699, isWhole: true, age: 301, isFresh: false },
  { name: 'a clock set back a little', freshAt: 1060, isWhole: true, age: 0, isFresh: true },
  { name: 'a clock set back', freshAt: 1061, isWhole: true, age: Infinity, isFresh: false },
  {
    name: 'before the first page',
    freshAt: undefined,
    isWhole: false,
    age: Infinity,
    isFresh: false,
  },
  { name: 'a part of a snapshot', freshAt: 1000, isWhole: false, age: 0, isFresh: false },
])('$name: $age s old, fresh: $isFresh', ({ age, isFresh, ...table }) => {
  const { freshness } = setup(table);
  expect(freshness.ageSeconds()).toBe(age);
  expect(isFreshAt(table, 1000, 300)).toBe(isFresh);
});

test('one line tells that it is too old, and one that it is fresh again', () => {
  const table = { freshAt: 1000, isWhole: true };
  const { clock, logger, freshness } = setup(table);
  const sweepAt = (at: number) => {
    clock.set(at);
    freshness.sweep();
  };
  for (const at of [1000, 1300, 1301, 1302]) sweepAt(at);
  expect(logger.lines).toMatchObject([
    { level: 'error', fields: { event: 'feed.stale', freshAt: 1000, maxStalenessSeconds: 300 } },
  ]);
  table.freshAt = 1303;
  for (const at of [1303, 1304]) sweepAt(at);
  expect(logger.lines.slice(1)).toMatchObject([{ level: 'info', fields: { event: 'feed.fresh' } }]);
});

test('a broker that starts with an old replica says so, and one without any does not', () => {
  const old = setup({ freshAt: 1, isWhole: true });
  old.freshness.sweep();
  expect(old.logger.all('feed.stale')).toHaveLength(1);
  const table: { freshAt: number | undefined; isWhole: boolean } = {
    freshAt: undefined,
    isWhole: false,
  };
  const none = setup(table);
  none.freshness.sweep();
  Object.assign(table, { freshAt: 1000, isWhole: true });
  none.freshness.sweep();
  expect(none.logger.lines).toEqual([]);
});
