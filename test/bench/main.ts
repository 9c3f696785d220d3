/**
 * `npm run bench -- SUITE…`: measures, prints Markdown to stdout and progress to stderr, and writes JSON.
 *
 * Errors  exit code 2 for wrong use. A missed target is a result and no error.
 *
 * @module
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { FLEET, runFleet } from './fleet/scenario.ts';
import { runComparison, type Suite } from './harness.ts';
import { describeMachine } from './machine.ts';
import { formatMarkdown, type SuiteReport } from './report.ts';
import { agentSuite } from './suites/agent.ts';
import { authoritySuite } from './suites/authority.ts';
import { brokerSuite } from './suites/broker.ts';
import { feedSuite } from './suites/feed.ts';
import { registrySuite } from './suites/registry.ts';
import { sharedSuite } from './suites/shared.ts';

const SUITES: readonly Suite[] = [
  sharedSuite,
  authoritySuite,
  feedSuite,
  registrySuite,
  brokerSuite,
  agentSuite,
];
const DEFAULT_ROUNDS = 10;
const DEFAULT_SECONDS = 60;

const HELP = `Usage: npm run bench -- [SUITE...] [--rounds N] [--seconds N] [--only TEXT] [--json FILE]

Measures the suites named, or all. Prints Markdown to stdout and progress to stderr.

Suites:
${SUITES.map(({ name, about }) => `  ${name.padEnd(10)} ${about}`).join('\n')}

Scenario, by itself and never among all:
  ${FLEET.name.padEnd(10)} ${FLEET.about}

Options:
  --rounds N   rounds per comparison, 1 to 1000 (default ${DEFAULT_ROUNDS})
  --seconds N  how long the agent rests before its memory is taken, 5 to 3600 (default ${DEFAULT_SECONDS})
  --only TEXT  only comparisons whose name has that text in it
  --json FILE  where the samples go (default bench-results/SUITE-TIME.json)
  --help       this text

Example:
  npm run --silent bench -- shared --rounds 20 > shared.md
`;

interface Options {
  readonly suites: readonly Suite[];
  readonly rounds: number;
  readonly seconds: number;
  readonly only: string;
  readonly json: string | undefined;
  readonly isHelp: boolean;
  readonly isFleet: boolean;
}

/** Throws an `Error` whose message is for the user. */
function parseOptions(args: string[]): Options {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      rounds: { type: 'string', default: String(DEFAULT_ROUNDS) },
      seconds: { type: 'string', default: String(DEFAULT_SECONDS) },
      only: { type: 'string', default: '' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  const whole = (option: 'rounds' | 'seconds', least: number, most: number): number => {
    const value = Number(values[option]);
    if (Number.isInteger(value) && value >= least && value <= most) return value;
    throw new Error(`--${option} must be a whole number from ${least} to ${most}`);
  };
  const rounds = whole('rounds', 1, 1000);
  const seconds = whole('seconds', 5, 3600);
  const isFleet = positionals.length === 1 && positionals[0] === FLEET.name;
  if (isFleet) positionals.pop();
  const names = positionals.length === 0 ? SUITES.map(({ name }) => name) : positionals;
  const suites = names.map((name) => {
    const suite = SUITES.find((known) => known.name === name);
    if (suite === undefined) throw new Error(`there is no suite ${name}; see --help`);
    return suite;
  });
  if (values.json !== undefined && suites.length > 1) {
    throw new Error('--json takes one suite');
  }
  const { only, json, help: isHelp } = values;
  return { suites, rounds, seconds, only, json, isHelp, isFleet };
}

async function runSuite(suite: Suite, { rounds, seconds, only }: Options): Promise<SuiteReport> {
  const machine = describeMachine(suite.libraries);
  const progress = (line: string) => void process.stderr.write(`${suite.name}: ${line}\n`);
  const { comparisons, close } = await suite.prepare({ seconds });
  try {
    const results = [];
    for (const comparison of comparisons.filter(({ name }) => name.includes(only))) {
      results.push(await runComparison(comparison, { rounds, progress }));
    }
    return { suite: suite.name, machine, comparisons: results };
  } finally {
    await close?.();
  }
}

async function main(): Promise<number> {
  let options: Options;
  try {
    options = parseOptions(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    return 2;
  }
  if (options.isHelp) {
    process.stdout.write(HELP);
    return 0;
  }
  if (options.isFleet) {
    const progress = (line: string) => void process.stderr.write(`${FLEET.name}: ${line}\n`);
    process.stdout.write(`${await runFleet(progress)}\n`);
    return 0;
  }
  for (const suite of options.suites) {
    const report = await runSuite(suite, options);
    process.stdout.write(`${formatMarkdown(report)}\n`);
    const time = report.machine.startedAt.replace(/[:.]/g, '-');
    const file = options.json ?? join('bench-results', `${suite.name}-${time}.json`);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
    process.stderr.write(`${suite.name}: samples are in ${file}\n`);
  }
  return 0;
}

process.exitCode = await main();
