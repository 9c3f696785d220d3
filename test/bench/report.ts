/**
 * Results as Markdown for people and as JSON for programs.
 *
 * Units   as measured.
 *
 * @module
 */
import type { ComparisonResult, ContenderResult, Verdict } from './harness.ts';
import type { Machine } from './machine.ts';
import type { Summary } from './statistics.ts';

export interface SuiteReport {
  readonly suite: string;
  readonly machine: Machine;
  readonly comparisons: readonly ComparisonResult[];
}

/** Three significant digits at least, whole thousands with a thin gap as in 1 234 567. */
export function formatNumber(value: number): string {
  if (value < 10) return value.toFixed(2);
  if (value < 100) return value.toFixed(1);
  return Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, ' ');
}

const quartiles = ({ lowerQuartile, upperQuartile }: Summary): string =>
  `${formatNumber(lowerQuartile)}–${formatNumber(upperQuartile)}`;

function contenderRow({ name, base, summary, ratio }: ContenderResult): string {
  const comparison =
    ratio === undefined
      ? ' |  | '
      : `${ratio.median.toFixed(2)} | ${ratio.lowerQuartile.toFixed(2)}–${ratio.upperQuartile.toFixed(2)} | ${base}`;
  return `| ${name} | ${formatNumber(summary.median)} | ${quartiles(summary)} | ${comparison} |`;
}

function verdictRow(where: string, verdict: Verdict): string {
  const { contender, base, atLeast, atMost, reached, isMet } = verdict;
  const goal = atLeast === undefined ? `≤ ${formatNumber(atMost ?? 0)}` : `≥ ${atLeast.toFixed(2)}`;
  const summary = `${formatNumber(reached.median)} (${quartiles(reached)})`;
  return `| ${where} | ${contender} | ${base} | ${goal} | ${summary} | **${isMet ? 'met' : 'missed'}** |`;
}

function comparisonSection(result: ComparisonResult): readonly string[] {
  const { name, unit, rounds, contenders, retried, keptLoaded, foreignLoad } = result;
  return [
    `### ${name}`,
    '',
    `| | ${unit}, median | quartiles | ratio | quartiles | to |`,
    '|---|---:|---:|---:|---:|---|',
    ...contenders.map(contenderRow),
    '',
    `${rounds} rounds. Samples taken again because other processes were at work: ${retried}; kept in spite of that: ${keptLoaded}. ` +
      `Other processes used ${foreignLoad.median.toFixed(2)} cores (${foreignLoad.lowerQuartile.toFixed(2)}–${foreignLoad.upperQuartile.toFixed(2)}).`,
    '',
  ];
}

export function formatMarkdown({ suite, machine, comparisons }: SuiteReport): string {
  const libraries = Object.entries(machine.libraries).map(
    ([name, version]) => `${name} ${version}`,
  );
  return [
    `## Suite ${suite}`,
    '',
    `${machine.cores} cores of ${machine.cpu}, ${machine.memoryGiB} GiB, ${machine.system}. ` +
      `${[`Node ${machine.node}`, `OpenSSL ${machine.openssl}`, ...libraries].join(', ')}. ` +
      `Load at the start ${machine.load.join(' ')}; ${machine.startedAt}.`,
    '',
    'Ratios are taken within rounds; more is better.',
    '',
    ...comparisons.flatMap(comparisonSection),
    '### Targets',
    '',
    '| | | base | target | reached (quartiles) | |',
    '|---|---|---|---:|---:|---|',
    ...comparisons.flatMap(({ name, verdicts }) =>
      verdicts.map((verdict) => verdictRow(name, verdict)),
    ),
    '',
  ].join('\n');
}
