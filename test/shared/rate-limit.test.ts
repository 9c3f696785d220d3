/** Token buckets, on both sides of their boundary. */
import { createRateLimiter } from '@latchkey/shared';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createDrivenClock } from '../helpers/driven-clock.ts';

describe('a bucket', () => {
  const setup = (perSecond: number, burst: number, maxBuckets?: number) => {
    const clock = createDrivenClock();
    const more = maxBuckets === undefined ? {} : { maxBuckets };
    const limiter = createRateLimiter({ perSecond, burst }, { clock, ...more });
    const isTaken = (key = 'a') => limiter.take(key) === 0;
    return { clock, limiter, isTaken };
  };

  test('gives its burst, then nothing, then one as soon as one is back and not before', async () => {
    const { clock, isTaken } = setup(2, 3);
    expect([isTaken(), isTaken(), isTaken(), isTaken()]).toEqual([true, true, true, false]);
    await clock.advance(499);
    expect(isTaken()).toBe(false);
    await clock.advance(1);
    expect(isTaken()).toBe(true);
    expect(isTaken()).toBe(false);
  });

  test('says after how many seconds one is back', async () => {
    const { clock, limiter, isTaken } = setup(1, 1);
    expect(isTaken()).toBe(true);
    expect(limiter.take('a')).toBe(1);
    await clock.advance(999);
    expect(limiter.take('a')).toBe(1);
    await clock.advance(1);
    expect(limiter.take('a')).toBe(0);
  });

  test('is never fuller than its burst, however long nobody came', async () => {
    const { clock, isTaken } = setup(100, 2);
    await clock.advance(3_600_000);
    expect([isTaken(), isTaken(), isTaken()]).toEqual([true, true, false]);
  });

  test('is looked into without taking, and counted down no further than to nothing', async () => {
    const { clock, limiter, isTaken } = setup(1, 1);
    expect([limiter.check('a'), limiter.check('a')]).toEqual([0, 0]);
    limiter.count('a');
    limiter.count('a'); // a second one that was let in while the first was at work
    expect(limiter.check('a')).toBe(1);
    await clock.advance(999);
    expect(limiter.check('a')).toBe(1);
    await clock.advance(1);
    expect([isTaken(), isTaken()]).toEqual([true, false]);
  });

  test('is one for each key', () => {
    const { isTaken } = setup(1, 1);
    expect([isTaken('a'), isTaken('a'), isTaken('b')]).toEqual([true, false, true]);
  });

  test('gives and takes nothing when the clock is set back', () => {
    const { clock, isTaken } = setup(1, 1);
    expect(isTaken()).toBe(true);
    clock.set(clock.now() - 1000);
    expect(isTaken()).toBe(false);
  });

  test('goes when there are too many, the one used least recently first', () => {
    const { limiter, isTaken } = setup(1, 1, 2);
    expect([isTaken('a'), isTaken('b'), isTaken('a')]).toEqual([true, true, false]);
    expect(isTaken('c')).toBe(true);
    expect(limiter.size()).toBe(2);
    expect(isTaken('a')).toBe(false);
    expect(isTaken('b')).toBe(true);
  });

  test('never gives more in any time than its burst and what came back', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 20 }),
        fc.array(fc.integer({ min: 0, max: 700 }), { maxLength: 80 }),
        async (perSecond, burst, waits) => {
          const { clock, isTaken } = setup(perSecond, burst);
          const taken: number[] = [];
          for (const wait of waits) {
            await clock.advance(wait);
            if (isTaken()) taken.push(clock.nowMs());
          }
          taken.forEach((from, i) => {
            taken.slice(i).forEach((to, count) => {
              expect(count + 1).toBeLessThanOrEqual(
                burst + ((to - from) / 1000) * perSecond + 1e-6,
              );
            });
          });
        },
      ),
      { numRuns: 30 },
    );
  });
});
