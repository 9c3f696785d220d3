import { writeFileSync } from 'node:fs';
import { silentLogger } from '@latchkey/shared';
import { expect, onTestFinished, test } from 'vitest';
import { createHealth } from '../../agent/src/health.ts';
import { createStateKeeper } from '../../agent/src/state.ts';
import { runAgentCli } from '../helpers/agent-cli.ts';
import { setUpAgent } from '../helpers/agent-setup.ts';
import { createDrivenClock } from '../helpers/driven-clock.ts';
import { enrollDevice } from '../helpers/enrolled-device.ts';
import { startProgram } from '../helpers/processes.ts';

function setUp() {
  const clock = createDrivenClock();
  const state = createStateKeeper({ clock, logger: silentLogger });
  const outbox = {
    messages: 0,
    failure: undefined as string | undefined,
    probes: 0,
    probe: () => {
      outbox.probes += 1;
    },
  };
  const health = createHealth({ clock, state, outbox });
  const over = new AbortController();
  void health.run(over.signal);
  onTestFinished(() => over.abort());
  const kinds = () => health.problems().map(({ kind }) => kind);
  return { clock, state, outbox, health, kinds };
}

/** Time until the next look, and the limit. */
const LOOK_MS = 10_000;
const MINUTE_MS = 60_000;

test('at the start, offline and online with nothing to send all is well', async () => {
  const { clock, state, kinds } = setUp();
  expect(kinds()).toEqual([]);
  await clock.advance(10 * MINUTE_MS);
  expect(kinds()).toEqual([]);
  state.enter('online');
  await clock.advance(60 * MINUTE_MS);
  expect(kinds()).toEqual([]);
});

test('online with messages and no acknowledgement for a minute: stalled, until one comes', async () => {
  const { clock, state, outbox, health, kinds } = setUp();
  state.enter('online');
  outbox.messages = 3;
  await clock.advance(MINUTE_MS - 1);
  expect(kinds()).toEqual([]);
  await clock.advance(2 * LOOK_MS);
  expect(health.problems()).toEqual([
    {
      kind: 'outbox-stalled',
      detail: expect.stringContaining('3 messages'),
      isMendedByRestart: true,
    },
  ]);
  state.enter('renewing'); // is no progress
  await clock.advance(LOOK_MS);
  expect(kinds()).toEqual(['outbox-stalled']);
  state.count('published');
  await clock.advance(LOOK_MS);
  expect(kinds()).toEqual([]);
});

test.each(['published', 'refused', 'dropped'] as const)(
  'a message that was %s now and then is progress',
  async (counter) => {
    const { clock, state, outbox, kinds } = setUp();
    state.enter('online');
    outbox.messages = 3;
    for (let i = 0; i < 10; i += 1) {
      await clock.advance(MINUTE_MS / 2);
      state.count(counter);
    }
    expect(kinds()).toEqual([]);
  },
);

test('five connections and not one acknowledgement: the broker is silent, until one comes', async () => {
  const { clock, state, outbox, health, kinds } = setUp();
  outbox.messages = 2;
  for (let i = 0; i < 5; i += 1) {
    expect(kinds()).toEqual([]);
    state.enter('connecting');
    state.count('connections');
    state.enter('online');
    await clock.advance(20_000);
    state.enter('backing-off', 'no acknowledgement');
    await clock.advance(20_000);
  }
  expect(health.problems()).toMatchObject([{ kind: 'broker-silent', isMendedByRestart: false }]);
  state.count('published');
  await clock.advance(LOOK_MS);
  expect(kinds()).toEqual([]);
});

test('connections with nothing to send are no sign of anything', async () => {
  const { clock, state, outbox, kinds } = setUp();
  for (let i = 0; i < 50; i += 1) {
    state.count('connections');
    await clock.advance(LOOK_MS);
  }
  outbox.messages = 1;
  expect(kinds()).toEqual([]);
});

test.each([
  { name: 'before it is due', passedMs: 120_000, kinds: [] },
  { name: 'less than a minute after', passedMs: 120_000 + MINUTE_MS - 1, kinds: [] },
  {
    name: 'more than a minute after',
    passedMs: 120_000 + MINUTE_MS + 2 * LOOK_MS,
    kinds: ['retry-overdue'],
  },
])('a retry $name: $kinds', async ({ passedMs, kinds: expected }) => {
  const { clock, state, kinds } = setUp();
  const dueAtMs = clock.elapsedMs() + 120_000;
  state.enter('backing-off', 'no route', { dueAtMs, needsOperator: false });
  await clock.advance(passedMs);
  expect(kinds()).toEqual(expected);
  state.enter('obtaining');
  await clock.advance(LOOK_MS);
  expect(kinds()).toEqual([]);
});

test('waiting an hour for an operator is red at once, and no reason for a restart', () => {
  const { clock, state, health } = setUp();
  const dueAtMs = clock.elapsedMs() + 3_600_000;
  state.enter('backing-off', 'ask the operator', { dueAtMs, needsOperator: true });
  expect(health.problems()).toEqual([
    { kind: 'needs-operator', detail: 'ask the operator', isMendedByRestart: false },
  ]);
  state.enter('obtaining');
  expect(health.problems()).toEqual([]);
});

test.each(['enrolling', 'obtaining', 'connecting'] as const)(
  '%s for more than five minutes is red; trying again and again is not',
  async (name) => {
    const { clock, state, kinds } = setUp();
    for (let i = 0; i < 20; i += 1) {
      state.enter(name);
      await clock.advance(MINUTE_MS);
    }
    expect(kinds()).toEqual([]);
    state.enter(name);
    await clock.advance(5 * MINUTE_MS - 1);
    expect(kinds()).toEqual([]);
    await clock.advance(2 * LOOK_MS);
    expect(kinds()).toEqual(['try-endless']);
  },
);

test('a disk that refuses is red, is tried again, and no reason for a restart', async () => {
  const { clock, state, outbox, health } = setUp();
  state.enter('online');
  outbox.failure = 'disk is full';
  expect(health.problems()).toEqual([
    {
      kind: 'outbox-refuses',
      detail: expect.stringContaining('disk is full'),
      isMendedByRestart: false,
    },
  ]);
  await clock.advance(3 * LOOK_MS);
  expect(outbox.probes).toBe(3);
  outbox.failure = undefined;
  expect(health.problems()).toEqual([]);
});

test('a set clock changes nothing: only time that passed counts', async () => {
  const { clock, state, outbox, kinds } = setUp();
  state.enter('online');
  outbox.messages = 1;
  await clock.advance(LOOK_MS);
  clock.set(clock.now() + 86_400);
  await clock.advance(LOOK_MS);
  expect(kinds()).toEqual([]);
});

test('healthcheck says ok, then what is wrong, then that nobody runs', async () => {
  const setup = await setUpAgent();
  const { broker, stateDir, clock } = setup;
  const agent = await setup.startAgent();
  const check = (...more: string[]) =>
    runAgentCli(['healthcheck', '--state-dir', stateDir, ...more]);
  expect(await check()).toEqual({ exitCode: 0, stdout: 'ok\n', stderr: '' });
  expect(JSON.parse((await check('--json')).stdout)).toEqual({ health: 'ok', problems: [] });

  broker.returnCode = () => 5;
  broker.kick();
  await setup.logger.event('agent.state', { state: 'backing-off' });
  expect(await check()).toMatchObject({ exitCode: 0 }); // offline, and it knows when to try
  await clock.untilSleeping(500);
  await clock.advance(500);
  await clock.untilSleeping(30_000); // as long as only an operator's patience allows
  const red = await check();
  expect(red).toMatchObject({ exitCode: 1, stdout: '' });
  expect(red.stderr).toMatch(/^needs-operator: .*check broker\.resource/);
  const { stdout } = await runAgentCli(['status', '--json', '--state-dir', stateDir]);
  expect(JSON.parse(stdout)).toMatchObject({
    health: 'red',
    problems: [{ kind: 'needs-operator' }],
    pid: process.pid,
  });

  await agent.stop();
  expect(await check()).toMatchObject({ exitCode: 3 });
});

test('a process that hangs is red too: it does not answer in time', async () => {
  const { stateDir, config } = await enrollDevice();
  writeFileSync(config, 'state_dir = "state"\n[broker]\nurl = "mqtt://127.0.0.1:1"\n');
  const agent = startProgram('latchkey-agent', ['run', '--config', config]);
  await agent.event('agent.state', ({ state }) => state === 'backing-off');
  const check = () => runAgentCli(['healthcheck', '--state-dir', stateDir]);
  expect(await check()).toMatchObject({ exitCode: 0 });
  agent.child.kill('SIGSTOP');
  const red = await check();
  expect(red).toMatchObject({ exitCode: 3, stdout: '' });
  expect(red.stderr).toMatch(/did not answer/);
  agent.child.kill('SIGCONT');
  expect(await check()).toMatchObject({ exitCode: 0 });
});
