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
export interface Target {
  readonly contender: string;
  readonly base: string;
  readonly atLeast: number;
}

export interface Comparison {
  readonly name: string;
  readonly unit: string;
  readonly contenders: readonly Contender[];
  readonly targets?: readonly Target[];
  /** Processes that the contenders run in, whose CPU time is not foreign. */
  readonly pids?: readonly number[];
}

export interface Suite {
  readonly name: string;
  /** One line for `--help`. */
  readonly about: string;
  /** Libraries whose versions the report names. */
  readonly libraries: readonly string[];
  readonly prepare: () => Promise<{
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

export interface Verdict extends Target {
  readonly ratio: Summary;
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
const MAX_TRIES = 6;
const RETRY_PAUSE_MS = 300;

interface Kept {
  readonly value: number;
  readonly load: number;
  readonly tries: number;
}

/** Takes a sample in peace if it can, else keeps the one that was disturbed least. */
async function sampleInPeace(contender: Contender, pids: readonly number[]): Promise<Kept> {
  let best: Kept | undefined;
  for (let tries = 1; tries <= MAX_TRIES; tries += 1) {
    const foreignLoad = watchForeignLoad(pids);
    const value = await contender.sample();
    const load = foreignLoad();
    if (best === undefined || load < best.load) best = { value, load, tries };
    if (load <= MAX_FOREIGN_LOAD) return { value, load, tries };
    await delay(RETRY_PAUSE_MS);
  }
  return { ...(best as Kept), tries: MAX_TRIES };
}

export interface RunOptions {
  readonly rounds: number;
  readonly progress: (line: string) => void;
}

export async function runComparison(
  comparison: Comparison,
  { rounds, progress }: RunOptions,
): Promise<ComparisonResult> {
  const { name, unit, contenders, targets = [], pids = [] } = comparison;
  const kept = new Map<string, Kept[]>(contenders.map((contender) => [contender.name, []]));
  progress(`${name}: warming up ${contenders.length} contenders`);
  for (let i = 0; i < WARM_UP_SAMPLES; i += 1) {
    for (const contender of contenders) await contender.sample();
  }
  for (let round = 1; round <= rounds; round += 1) {
    for (const contender of shuffled(contenders, Math.random)) {
      kept.get(contender.name)?.push(await sampleInPeace(contender, pids));
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
    verdicts: targets.map((target) => {
      const reached = ratio(target.contender, target.base);
      return { ...target, ratio: reached, isMet: reached.median >= target.atLeast };
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
