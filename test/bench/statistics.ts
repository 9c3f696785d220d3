/**
 * The few statistics that the benchmarks use: order statistics, which a slow spell does not move.
 *
 * Units   those of the values.
 * Errors  `RangeError` for an empty list.
 *
 * @module
 */

export interface Summary {
  readonly median: number;
  readonly lowerQuartile: number;
  readonly upperQuartile: number;
}

/** The value below which the fraction `at` (0 to 1) lies, interpolated between neighbours. */
export function quantile(values: readonly number[], at: number): number {
  if (values.length === 0) throw new RangeError('no values');
  const sorted = values.toSorted((a, b) => a - b);
  const position = (sorted.length - 1) * at;
  const below = sorted[Math.floor(position)] as number;
  const above = sorted[Math.ceil(position)] as number;
  return below + (above - below) * (position - Math.floor(position));
}

export function summarize(values: readonly number[]): Summary {
  return {
    median: quantile(values, 0.5),
    lowerQuartile: quantile(values, 0.25),
    upperQuartile: quantile(values, 0.75),
  };
}

/**
 * One ratio for each round. Both sides of a ratio were measured within seconds, so the speed of the
 * machine at that time cancels out.
 */
export function ratiosWithinRounds(
  values: readonly number[],
  base: readonly number[],
): readonly number[] {
  if (values.length !== base.length) throw new RangeError('not the same rounds');
  return values.map((value, round) => value / (base[round] as number));
}

/** A copy in random order (Fisher and Yates). `random` gives numbers from 0 up to 1. */
export function shuffled<Item>(items: readonly Item[], random: () => number): Item[] {
  const copy = [...items];
  for (let i = copy.length - 1; i > 0; i -= 1) {
    const j = Math.floor(random() * (i + 1));
    [copy[i], copy[j]] = [copy[j] as Item, copy[i] as Item];
  }
  return copy;
}
