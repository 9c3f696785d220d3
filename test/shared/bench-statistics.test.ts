import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { quantile, ratiosWithinRounds, shuffled, summarize } from '../bench/statistics.ts';

describe('quantile', () => {
  test.each([
    { values: [7], at: 0.5, is: 7 },
    { values: [1, 2], at: 0.5, is: 1.5 },
    { values: [3, 1, 2], at: 0.5, is: 2 },
    { values: [10, 9, 1], at: 0.5, is: 9 },
    { values: [1, 2, 3, 4], at: 0.25, is: 1.75 },
    { values: [1, 2, 3, 4], at: 0.75, is: 3.25 },
    { values: [1, 2, 3, 4, 5], at: 0, is: 1 },
    { values: [1, 2, 3, 4, 5], at: 1, is: 5 },
  ])('$at of $values is $is', ({ values, at, is }) => {
    expect(quantile(values, at)).toBeCloseTo(is, 10);
  });

  test('of nothing is an error and not a number', () => {
    expect(() => quantile([], 0.5)).toThrow(RangeError);
  });

  test('the list given is not sorted in place', () => {
    const values = [3, 1, 2];
    quantile(values, 0.5);
    expect(values).toEqual([3, 1, 2]);
  });

  test('is one of the order and within the bounds, whatever the values', () => {
    const values = fc.array(fc.double({ min: 0, max: 1e9, noNaN: true }), { minLength: 1 });
    fc.assert(
      fc.property(values, (list) => {
        const { lowerQuartile, median, upperQuartile } = summarize(list);
        const ordered = [
          Math.min(...list),
          lowerQuartile,
          median,
          upperQuartile,
          Math.max(...list),
        ];
        expect(ordered).toEqual(ordered.toSorted((a, b) => a - b));
      }),
    );
  });
});

describe('ratiosWithinRounds', () => {
  test('divides round by round, so that a slow round on both sides changes nothing', () => {
    expect(ratiosWithinRounds([90, 45, 180], [100, 50, 200])).toEqual([0.9, 0.9, 0.9]);
  });

  test('different numbers of rounds are an error', () => {
    expect(() => ratiosWithinRounds([1, 2], [1])).toThrow(RangeError);
  });
});

describe('shuffled', () => {
  test('keeps every item once and the list given as it was', () => {
    fc.assert(
      fc.property(fc.array(fc.nat()), (items) => {
        const before = [...items];
        expect(shuffled(items, Math.random).sort()).toEqual(items.toSorted());
        expect(items).toEqual(before);
      }),
    );
  });

  test('every order comes about equally often', () => {
    const counts = new Map<string, number>();
    for (let i = 0; i < 6000; i += 1) {
      const order = shuffled(['a', 'b', 'c'], Math.random).join('');
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(6);
    for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(200);
  });
});
