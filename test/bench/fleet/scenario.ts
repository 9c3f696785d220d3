/**
 * Scenario `fleet`: 1,000 agents enroll, connect at the same instant, renew for two minutes, lose their broker
 * for ten seconds and come back; what the authority has to bear meanwhile.
 *
 * Everything is real: `latchkey serve`, `latchkey-broker`, and agents with outboxes, sockets and connections
 * of their own. Only that they share four processes is not as in the field.
 *
 * Units   seconds; requests for tokens per second.
 *
 * @module
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { systemClock } from '@latchkey/shared';
import { type AskedProcess, startAsked } from '../asked-process.ts';
import { describeMachine } from '../machine.ts';
import { formatNumber } from '../report.ts';
import { quantile } from '../statistics.ts';
import type { FleetLook, FleetOrder } from './messages.ts';
import { type FleetStack, startFleetStack, TOKEN_TTL_SECONDS } from './stack.ts';

const AGENTS = 1000;
const PROCESSES = 4;
const STEADY_SECONDS = 2 * TOKEN_TTL_SECONDS;
const DOWN_SECONDS = 10;
const LOOK_MS = 250;
/** Nothing may take longer: the longest wait of a backoff, and a margin. */
const PATIENCE_SECONDS = 150;

type Progress = (line: string) => void;

/** The agents of all processes as one, and all that they did so far. */
interface Fleet {
  readonly tokenRequestsAt: readonly number[];
  readonly onlineAt: readonly number[];
  readonly residentBytes: number;
  tell(order: FleetOrder): Promise<void>;
  look(): Promise<{ readonly onlineNow: number; readonly longestWaitSeconds: number }>;
  untilOnline(): Promise<void>;
  stop(): Promise<void>;
}

async function startFleet(dir: string, { issuer, resource, code }: FleetStack): Promise<Fleet> {
  const script = fileURLToPath(new URL('./agents-process.js', import.meta.url));
  const processes: AskedProcess<FleetOrder, FleetLook>[] = [];
  for (let i = 0; i < PROCESSES; i += 1) processes.push(await startAsked(script));
  const tokenRequestsAt: number[] = [];
  const onlineAt: number[] = [];
  let residentBytes = 0;
  const ask = async (orderOf: (index: number) => FleetOrder): Promise<readonly FleetLook[]> => {
    const looks = await Promise.all(processes.map((one, index) => one.ask(orderOf(index))));
    for (const seen of looks) {
      tokenRequestsAt.push(...seen.tokenRequestsAt);
      onlineAt.push(...seen.onlineAt);
    }
    residentBytes = looks.reduce((sum, seen) => sum + seen.residentBytes, 0);
    return looks;
  };
  const count = AGENTS / PROCESSES;
  const folders = processes.map((_, index) => join(dir, `${index}`));
  for (const folder of folders) mkdirSync(folder, { mode: 0o700 });
  await ask((index) => ({
    ...{ type: 'enroll', folder: folders[index] as string, issuer, code, resource },
    devices: { first: index * count, count },
  }));
  const look: Fleet['look'] = async () => {
    const looks = await ask(() => ({ type: 'look' }));
    return {
      onlineNow: looks.reduce((sum, seen) => sum + seen.onlineNow, 0),
      longestWaitSeconds: Math.max(...looks.map((seen) => seen.longestWaitSeconds)),
    };
  };
  return {
    tokenRequestsAt,
    onlineAt,
    get residentBytes() {
      return residentBytes;
    },
    tell: async (order) => void (await ask(() => order)),
    look,
    untilOnline: async () => {
      const begun = performance.now();
      while ((await look()).onlineNow < AGENTS) {
        if (performance.now() - begun > PATIENCE_SECONDS * 1000) {
          throw new Error(`after ${PATIENCE_SECONDS} s not all agents are online`);
        }
        await delay(LOOK_MS);
      }
    },
    stop: async () => void (await Promise.all(processes.map((one) => one.stop()))),
  };
}

/** How many fall into each span of so many seconds, from `fromMs` on. */
function countsPer(seconds: number, fromMs: number, instantsMs: readonly number[]): number[] {
  const spans = instantsMs
    .filter((at) => at >= fromMs)
    .map((at) => Math.floor((at - fromMs) / 1000 / seconds));
  const counts = Array.from({ length: Math.max(-1, ...spans) + 1 }, () => 0);
  for (const span of spans) counts[span] = (counts[span] ?? 0) + 1;
  return counts;
}

const BAR = 50;

/** Rows of `second  count  bar`. */
function histogram(seconds: number, counts: readonly number[]): string {
  const most = Math.max(...counts);
  const rows = counts.map((count, index) => {
    const bar = '#'.repeat(Math.ceil((count / most) * BAR));
    return `${String(index * seconds).padStart(5)} s ${String(count).padStart(5)} ${bar}`;
  });
  return ['```', ...rows, '```'].join('\n');
}

/** Seconds from `fromMs` to each. */
const after = (fromMs: number, instantsMs: readonly number[]): readonly number[] =>
  instantsMs.filter((at) => at >= fromMs).map((at) => (at - fromMs) / 1000);

async function run(dir: string, stack: FleetStack, progress: Progress): Promise<string> {
  const begunMs = systemClock.nowMs();
  progress(`enrolling ${AGENTS} agents`);
  const fleet = await startFleet(dir, stack);
  try {
    const enrolledSeconds = (systemClock.nowMs() - begunMs) / 1000;
    progress('all agents start at once');
    const startedMs = systemClock.nowMs();
    await fleet.tell({ type: 'start' });
    await fleet.untilOnline();
    const starts = after(startedMs, fleet.onlineAt);
    const steadyMs = systemClock.nowMs();
    progress(`all are online; they renew for ${STEADY_SECONDS} s`);
    await delay(STEADY_SECONDS * 1000);
    const { onlineNow } = await fleet.look();
    const renewals = countsPer(1, steadyMs, fleet.tokenRequestsAt);

    progress(`the broker is killed, and comes back after ${DOWN_SECONDS} s`);
    await stack.killBroker();
    await delay(DOWN_SECONDS * 1000);
    const { longestWaitSeconds } = await fleet.look();
    const restartedMs = systemClock.nowMs();
    await stack.startBroker();
    await fleet.untilOnline();
    const returns = after(restartedMs, fleet.onlineAt);

    const seconds = (value: number) => `${formatNumber(value)} s`;
    const rows = [
      ['enrolled, from the first to the last', seconds(enrolledSeconds)],
      ['from the start of all at once to online: median', seconds(quantile(starts, 0.5))],
      ['the last', seconds(Math.max(...starts))],
      [`online after ${STEADY_SECONDS} s of renewals`, `${onlineNow} of ${AGENTS}`],
      [
        'requests for tokens in a second while they renew: mean',
        formatNumber(renewals.reduce((sum, count) => sum + count, 0) / STEADY_SECONDS),
      ],
      ['most in a second', `${Math.max(...renewals)}`],
      ['back after the broker: median', seconds(quantile(returns, 0.5))],
      ['the last', seconds(Math.max(...returns))],
      ['longest wait announced when it came back', seconds(longestWaitSeconds)],
      ['most back in a second', `${Math.max(...countsPer(1, restartedMs, fleet.onlineAt))}`],
      ['memory of one agent', `${formatNumber(fleet.residentBytes / AGENTS / 1024)} KiB`],
    ];
    return [
      '| | |',
      '|---|---:|',
      ...rows.map(([what, value]) => `| ${what} | ${value} |`),
      '',
      'Requests for tokens from the start on, in spans of four seconds:',
      '',
      histogram(4, countsPer(4, startedMs, fleet.tokenRequestsAt)),
      '',
      'Agents that came back after the broker, in spans of one second:',
      '',
      histogram(1, countsPer(1, restartedMs, fleet.onlineAt)),
      '',
    ].join('\n');
  } finally {
    await fleet.stop();
  }
}

export const FLEET = {
  name: 'fleet',
  about: '1,000 agents enroll, connect, renew and lose their broker; takes four minutes',
} as const;

/** Returns the report as Markdown. */
export async function runFleet(progress: Progress): Promise<string> {
  const { cores, cpu, node, load, startedAt } = describeMachine([]);
  const dir = mkdtempSync(join(tmpdir(), 'latchkey-fleet-'));
  const stack = await startFleetStack(dir, AGENTS);
  try {
    const report = await run(dir, stack, progress);
    const machine = `${cores} cores of ${cpu}, Node ${node}. Load at the start ${load.join(' ')}; ${startedAt}.`;
    const what = `${AGENTS} agents in ${PROCESSES} processes; tokens live ${TOKEN_TTL_SECONDS} s.`;
    return [`## Scenario ${FLEET.name}`, '', machine, what, '', report].join('\n');
  } finally {
    await stack.stop();
    rmSync(dir, { recursive: true, force: true });
  }
}
