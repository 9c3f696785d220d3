import { expect, onTestFinished, test } from 'vitest';
import type { Problem } from '../../agent/src/health.ts';
import { priorityOf, withPriority } from '../../agent/src/journal.ts';
import { watchdogInterval } from '../../agent/src/service-manager.ts';
import type { AgentState, AgentStatus } from '../../agent/src/state.ts';
import { createSupervision, isReady, statusWords } from '../../agent/src/supervision.ts';
import { createCapturedLog } from '../helpers/captured-log.ts';
import { createDrivenClock } from '../helpers/driven-clock.ts';

const problem = (kind: Problem['kind'], isMendedByRestart = false): Problem => ({
  kind,
  detail: `what is wrong: ${kind}`,
  isMendedByRestart,
});

test.each<{ state: AgentState; problems?: readonly Problem[]; ready: boolean }>([
  { state: 'online', ready: true },
  { state: 'renewing', ready: true },
  { state: 'online', problems: [problem('outbox-refuses')], ready: true },
  { state: 'backing-off', ready: true },
  { state: 'backing-off', problems: [problem('needs-operator')], ready: true },
  { state: 'backing-off', problems: [problem('outbox-refuses')], ready: false },
  { state: 'backing-off', problems: [problem('retry-overdue', true)], ready: false },
  { state: 'enrolling', ready: false },
  { state: 'obtaining', ready: false },
  { state: 'connecting', ready: false },
  { state: 'offline', ready: false },
  { state: 'stopped', ready: false },
])('$state with $problems: ready $ready', ({ state, problems = [], ready }) => {
  expect(isReady(state, problems)).toBe(ready);
});

function setUp(watchdogMs: number | undefined) {
  const clock = createDrivenClock();
  const logger = createCapturedLog();
  const told: Record<string, string>[] = [];
  const now = { state: 'offline' as AgentState, detail: undefined as string | undefined };
  const problems: Problem[] = [];
  const supervision = createSupervision({
    manager: { tell: (one) => void told.push({ ...one }), watchdogMs, idle: async () => undefined },
    agent: { status: () => now as AgentStatus, problems: () => problems },
    clock,
    logger,
  });
  const over = new AbortController();
  onTestFinished(() => over.abort());
  const enter = (state: AgentState, detail?: string) => {
    Object.assign(now, { state, detail });
    supervision.update();
  };
  const run = () => void supervision.run(over.signal);
  return { clock, logger, told, problems, supervision, enter, run };
}

test('ready once, and status only when it changed', () => {
  const { told, enter } = setUp(undefined);
  enter('obtaining');
  enter('online');
  enter('online');
  enter('connecting');
  enter('online');
  expect(told).toEqual([
    { STATUS: 'obtaining' },
    { READY: '1', STATUS: 'online' },
    { STATUS: 'connecting' },
    { STATUS: 'online' },
  ]);
});

test('ready is looked at again when nothing changes but the disk takes messages', async () => {
  const { clock, told, problems, enter, run } = setUp(undefined);
  problems.push(problem('outbox-refuses'));
  run();
  enter('backing-off', 'no route');
  await clock.advance(60_000);
  expect(told.some((one) => 'READY' in one)).toBe(false);
  problems.pop();
  await clock.advance(10_000);
  expect(told.at(-1)).toEqual({ READY: '1', STATUS: 'backing-off: no route' });
});

test.each([
  { kind: 'needs-operator', mended: false, isAlive: true },
  { kind: 'outbox-refuses', mended: false, isAlive: true },
  { kind: 'outbox-stalled', mended: true, isAlive: false },
  { kind: 'retry-overdue', mended: true, isAlive: false },
] as const)(
  '$kind: signs of life go on $isAlive, since only a stuck process is to be restarted',
  async ({ kind, mended, isAlive }) => {
    const { clock, logger, told, problems, enter, run } = setUp(1000);
    run();
    enter('online');
    problems.push(problem(kind, mended));
    await clock.advance(999);
    told.length = 0;
    await clock.advance(3000);
    expect(told.filter((one) => one.WATCHDOG === '1').length).toBe(isAlive ? 3 : 0);
    expect(logger.lines.filter(({ fields }) => fields.event === 'service.stuck').length).toBe(
      isAlive ? 0 : 1,
    );
    problems.length = 0;
    await clock.advance(1000);
    expect(told.at(-1)).toMatchObject({ WATCHDOG: '1' });
  },
);

test('after STOPPING nothing is said any more', async () => {
  const { clock, told, supervision, enter, run } = setUp(1000);
  run();
  enter('online');
  supervision.stopping();
  const before = told.length;
  expect(told.at(-1)).toMatchObject({ STOPPING: '1' });
  enter('offline', 'shut down');
  supervision.reloaded('x');
  await clock.advance(5000);
  expect(told.length).toBe(before);
});

test('a reload ends with READY, and its note stays until the next one', () => {
  const { told, supervision, enter } = setUp(undefined);
  enter('online');
  supervision.reloading(12_345n);
  supervision.reloaded('refused: agent.toml');
  enter('connecting');
  supervision.reloading(23_456n);
  supervision.reloaded(undefined);
  expect(told.slice(1)).toEqual([
    { RELOADING: '1', MONOTONIC_USEC: '12345' },
    { READY: '1', STATUS: 'online; refused: agent.toml' },
    { STATUS: 'connecting; refused: agent.toml' },
    { RELOADING: '1', MONOTONIC_USEC: '23456' },
    { READY: '1', STATUS: 'connecting' },
  ]);
});

test('a reload before the agent is ready does not make it ready', () => {
  const { told, supervision, enter } = setUp(undefined);
  enter('obtaining');
  supervision.reloading(1n);
  supervision.reloaded(undefined);
  expect(told).toEqual([{ STATUS: 'obtaining' }]);
  enter('online');
  expect(told.at(-1)).toEqual({ READY: '1', STATUS: 'online' });
});

test('the words name what is stuck beside the state', () => {
  expect(statusWords({ state: 'online', detail: undefined }, [])).toBe('online');
  const problems = [problem('needs-operator'), problem('outbox-refuses')];
  expect(statusWords({ state: 'backing-off', detail: 'ask; next try in 9 s' }, problems)).toBe(
    'backing-off: ask; next try in 9 s; what is wrong: outbox-refuses',
  );
});

test.each([
  { usec: '30000000', pid: undefined, ms: 15_000 },
  { usec: '30000000', pid: '7', ms: 15_000 },
  { usec: '30000000', pid: '8', ms: undefined },
  { usec: '1', pid: undefined, ms: 1 },
  { usec: '0', pid: undefined, ms: undefined },
  { usec: '-5', pid: undefined, ms: undefined },
  { usec: 'soon', pid: undefined, ms: undefined },
  { usec: '', pid: undefined, ms: undefined },
  { usec: undefined, pid: undefined, ms: undefined },
])('WATCHDOG_USEC=$usec for process $pid: every $ms ms', ({ usec, pid, ms }) => {
  expect(watchdogInterval({ watchdogUsec: usec, watchdogPid: pid }, 7)).toBe(ms);
});

test.each([
  [10, 7],
  [20, 7],
  [29, 7],
  [30, 6],
  [40, 4],
  [50, 3],
  [59, 3],
  [60, 2],
])('level %i has priority %i', (level, priority) => {
  expect(priorityOf(level)).toBe(priority);
});

test('every line of a text has the priority', () => {
  expect(withPriority('one\ntwo\n', 3)).toBe('<3>one\n<3>two\n');
});
