/**
 * Measures contenders against each other: in rounds, in random order within a round, with samples
 * taken again when other processes were at work.
 *
 * Absolute numbers follow the mood of the machine. Ratios are taken within rounds and are what
 * targets are set on.
 *
 * Units   samples in the unit of their comparison; times in milliseconds; foreign load in cores.
 * Errors  whatever a contender throws ends the run: a number from a broken contender is worse than none.
 *
 * @module
 */
import { setTimeout as delay } from 'node:timers/promises';
import { watchForeignLoad } from './machine.ts';
import { ratiosWithinRounds, type Summary, shuffled, summarize } from './statistics.ts';

export interface Contender {
  readonly name: string;
  /** The contender in the same comparison that this one is divided by; none for the base itself. */
  readonly base?: string;
  /** Takes one sample, at least `MIN_SAMPLE_MS` long. */
  readonly sample: () => Promise<number>;
}

/** A goal for the median ratio of two contenders. */
export interface RatioTarget {
  readonly contender: string;
  readonly base: string;
  readonly atLeast: number;
}

/** A goal for something else that the values of one round tell. */
export interface DerivedTarget {
  readonly contender: string;
  /** What it is measured by, in words. */
  readonly base: string;
  readonly atMost: number;
  /** `of` gives the value of a contender in that round. */
  readonly derive: (of: (contender: string) => number) => number;
}
export type Target = RatioTarget | DerivedTarget;

export interface Comparison {
  readonly name: string;
  readonly unit: string;
  readonly contenders: readonly Contender[];
  readonly targets?: readonly Target[];
  /** Processes that the contenders run in, whose CPU time is not foreign. */
  readonly pids?: readonly number[];
  /** For what is slow to measure and hardly varies. Default: as many as asked for. */
  readonly maxRounds?: number;
  /** How often a disturbed sample is taken again. Default 5; 0 where other processes do not matter. */
  readonly maxRetries?: number;
  /** Default 2; 0 where each sample has a process of its own. */
  readonly warmUps?: number;
}

export interface SuiteOptions {
  /** How long a sample lasts that is one of time itself. */
  readonly seconds: number;
}

export interface Suite {
  readonly name: string;
  /** One line for `--help`. */
  readonly about: string;
  /** Libraries whose versions the report names. */
  readonly libraries: readonly string[];
  readonly prepare: (options: SuiteOptions) => Promise<{
    readonly comparisons: readonly Comparison[];
    readonly close?: () => Promise<void>;
  }>;
}

export interface ContenderResult {
  readonly name: string;
  readonly base: string | undefined;
  readonly samples: readonly number[];
  readonly summary: Summary;
  readonly ratio: Summary | undefined;
}

export interface Verdict {
  readonly contender: string;
  readonly base: string;
  readonly atLeast?: number;
  readonly atMost?: number;
  readonly reached: Summary;
  readonly isMet: boolean;
}

export interface ComparisonResult {
  readonly name: string;
  readonly unit: string;
  readonly rounds: number;
  readonly contenders: readonly ContenderResult[];
  readonly verdicts: readonly Verdict[];
  /** Samples taken again because of foreign load. */
  readonly retried: number;
  /** Samples kept although foreign load was above the limit, since it never was below. */
  readonly keptLoaded: number;
  /** Foreign load during the samples that were kept. */
  readonly foreignLoad: Summary;
}

export const MIN_SAMPLE_MS = 250;
const WARM_UP_SAMPLES = 2;
const MAX_FOREIGN_LOAD = 0.15;
const MAX_RETRIES = 5;
const RETRY_PAUSE_MS = 300;

interface Kept {
  readonly value: number;
  readonly load: number;
  readonly tries: number;
}

/** Takes a sample in peace if it can, else keeps the one that was disturbed least. */
async function sampleInPeace(
  contender: Contender,
  { pids = [], maxRetries = MAX_RETRIES }: Pick<Comparison, 'pids' | 'maxRetries'>,
): Promise<Kept> {
  let best: Kept | undefined;
  for (let tries = 1; tries <= maxRetries + 1; tries += 1) {
    const foreignLoad = watchForeignLoad(pids);
    const value = await contender.sample();
    const load = foreignLoad();
    if (best === undefined || load < best.load) best = { value, load, tries };
    if (load <= MAX_FOREIGN_LOAD) return { value, load, tries };
    await delay(RETRY_PAUSE_MS);
  }
  return { ...(best as Kept), tries: maxRetries + 1 };
}

export interface RunOptions {
  readonly rounds: number;
  readonly progress: (line: string) => void;
}

export async function runComparison(
  comparison: Comparison,
  { rounds: asked, progress }: RunOptions,
): Promise<ComparisonResult> {
  const { name, unit, contenders, targets = [] } = comparison;
  const rounds = Math.min(asked, comparison.maxRounds ?? asked);
  const warmUps = comparison.warmUps ?? WARM_UP_SAMPLES;
  const kept = new Map<string, Kept[]>(contenders.map((contender) => [contender.name, []]));
  progress(`${name}: warming up ${contenders.length} contenders`);
  for (let i = 0; i < warmUps; i += 1) {
    for (const contender of contenders) await contender.sample();
  }
  for (let round = 1; round <= rounds; round += 1) {
    for (const contender of shuffled(contenders, Math.random)) {
      kept.get(contender.name)?.push(await sampleInPeace(contender, comparison));
    }
    progress(`${name}: round ${round} of ${rounds}`);
  }
  const samples = (contender: string) => (kept.get(contender) ?? []).map(({ value }) => value);
  const ratio = (contender: string, base: string) =>
    summarize(ratiosWithinRounds(samples(contender), samples(base)));
  const all = [...kept.values()].flat();
  return {
    name,
    unit,
    rounds,
    contenders: contenders.map((contender) => ({
      name: contender.name,
      base: contender.base,
      samples: samples(contender.name),
      summary: summarize(samples(contender.name)),
      ratio: contender.base === undefined ? undefined : ratio(contender.name, contender.base),
    })),
    verdicts: targets.map((target): Verdict => {
      const { contender, base } = target;
      if ('atLeast' in target) {
        const reached = ratio(contender, base);
        const { atLeast } = target;
        return { contender, base, atLeast, reached, isMet: reached.median >= atLeast };
      }
      const { atMost, derive } = target;
      const values = Array.from({ length: rounds }, (_, round) =>
        derive((name) => samples(name)[round] as number),
      );
      const reached = summarize(values);
      return { contender, base, atMost, reached, isMet: reached.median <= atMost };
    }),
    retried: all.reduce((sum, { tries }) => sum + tries - 1, 0),
    keptLoaded: all.filter(({ load }) => load > MAX_FOREIGN_LOAD).length,
    foreignLoad: summarize(all.map(({ load }) => load)),
  };
}

/**
 * A sample in operations per second. `batch` does its work and says how many operations that was and
 * how many milliseconds they took, so that what it prepares is not measured.
 */
export function rateOf(
  batch: () => Promise<{ readonly operations: number; readonly ms: number }>,
): () => Promise<number> {
  return async () => {
    let operations = 0;
    let ms = 0;
    while (ms < MIN_SAMPLE_MS) {
      const done = await batch();
      operations += done.operations;
      ms += done.ms;
    }
    return (operations / ms) * 1000;
  };
}
