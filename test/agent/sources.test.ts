import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runAgentCli } from '../helpers/agent-cli.ts';
import { type AgentSetup, setUpAgent } from '../helpers/agent-setup.ts';

const TOPIC = 'devices/t-42/telemetry/t';
const COMMANDS = 'devices/ac-7/commands/power';
const source = (input: string, more = '') =>
  `[[source]]\nname = "t"\n${input}\nevery_seconds = 5\ntopic = "${TOPIC}"\n${more}`;
const LIMIT = `[[source.limit]]\nabove = 26.0\nhysteresis = 0.5\ntopic = "${COMMANDS}"\npayload_above = "on"\npayload_below = "off"\n`;

async function setUp(): Promise<AgentSetup & { sense(text: string): void }> {
  const setup = await setUpAgent();
  const sense = (text: string) => writeFileSync(join(setup.dir, 'sensor'), text);
  return { ...setup, sense };
}

/** Lets the reading of the next interval happen: `reading` is how the test sees that it did. */
async function nextReading({ clock }: AgentSetup, reading: Promise<unknown>) {
  await clock.untilSleeping(4000, 5000);
  await clock.advance(5000);
  await reading;
}

test('publishes the first number times scale, with unit and instant, every interval', async () => {
  const setup = await setUp();
  const { broker, clock, sense, startAgent } = setup;
  sense('26543\n');
  await startAgent(source('file = "sensor"\nscale = 0.001\nunit = "celsius"'));
  const first = await broker.published(TOPIC);
  expect(JSON.parse(first.payload)).toEqual({ value: 26.543, unit: 'celsius', at: clock.now() });
  sense('27000\n');
  await nextReading(setup, broker.published(TOPIC, 2));
  expect(JSON.parse(broker.publishes[1]!.payload)).toEqual({
    value: 27,
    unit: 'celsius',
    at: clock.now(),
  });
});

test('a limit is told at the first reading and at each crossing, with hysteresis, and not between', async () => {
  const setup = await setUp();
  const { broker, sense, startAgent } = setup;
  sense('25');
  await startAgent(source('file = "sensor"', LIMIT));
  await broker.published(COMMANDS);
  const values = ['25.9', '26', '26.1', '27', '25.6', '25.5', '26'];
  for (const [i, value] of values.entries()) {
    sense(value);
    await nextReading(setup, broker.published(TOPIC, i + 2));
  }
  await nextReading(setup, broker.published(TOPIC, values.length + 2));
  expect(
    broker.publishes.filter(({ topic }) => topic === COMMANDS).map(({ payload }) => payload),
  ).toEqual(['off', 'on', 'off']);
});

test('a command is read like a file; it is run without a shell and sees no other environment', async () => {
  const setup = await setUp();
  process.env.LATCHKEY_TEST_SECRET = 'leaked';
  const script = 'console.log(Object.keys(process.env).length, process.argv[1])';
  const command = JSON.stringify(['node', '-e', script, '$(id); 7']);
  await setup.startAgent(source(`command = ${command}`));
  expect(JSON.parse((await setup.broker.published(TOPIC)).payload).value).toBe(1); // PATH
});

test.each([
  { name: 'a file that is missing', input: 'file = "nowhere"', detail: /ENOENT/ },
  { name: 'a file without a number', input: 'file = "empty"', detail: /no number/ },
  { name: 'a folder', input: 'file = "folder"', detail: /EISDIR/ },
  { name: 'a command that fails', input: 'command = ["false"]', detail: /failed \(1\)/ },
  { name: 'a command that does not exist', input: 'command = ["/no/such"]', detail: /ENOENT/ },
  { name: 'too much output', input: 'command = ["yes", "1"]', detail: /too-much-output/ },
])('$name: counted, logged, and tried again', async ({ input, detail }) => {
  const setup = await setUp();
  const { broker, clock, dir, logger, startAgent } = setup;
  writeFileSync(join(dir, 'empty'), 'none');
  mkdirSync(join(dir, 'folder'));
  const agent = await startAgent(source(input));
  expect((await logger.event('source.failed')).detail).toMatch(detail);
  await clock.untilSleeping(4000, 5000);
  const again = logger.event('source.failed', {}, logger.lines.length);
  await clock.advance(5000);
  await again;
  expect(agent.status().counters.failedReadings).toBe(2);
  expect(broker.publishes).toEqual([]);
});

test('a command that hangs is killed at its time-out', async () => {
  const setup = await setUp();
  const { clock, logger, startAgent } = setup;
  await startAgent(source('command = ["sleep", "1000"]\ntimeout_seconds = 3'));
  await clock.untilSleeping(3000);
  await clock.advance(3000);
  expect((await logger.event('source.failed')).detail).toMatch(/timeout/);
});

test('readings and crossings while offline are kept, and come in their order', async () => {
  const setup = await setUp();
  const { broker, clock, logger, sense, startAgent } = setup;
  sense('25');
  await startAgent(source('file = "sensor"', LIMIT));
  await broker.published(COMMANDS);
  const lost = logger.event('agent.state', { state: 'backing-off' });
  await broker.stop();
  await lost;
  const waiting = async () => {
    const list = ['outbox', 'list', '--json', '--state-dir', setup.stateDir];
    return JSON.parse((await runAgentCli(list)).stdout).messages as number;
  };
  for (const value of ['27', '28', '25']) {
    sense(value);
    // One reading may have been under way; of three messages the last is of the new value.
    const enough = (await waiting()) + 3;
    while ((await waiting()) < enough) await clock.advance(1000);
  }
  await broker.start();
  const done = broker.published(COMMANDS, 3);
  let isDone = false;
  void done.then(() => {
    isDone = true;
  });
  while (!isDone) await clock.advance(20);
  const of = (topic: string) => broker.publishes.filter((publish) => publish.topic === topic);
  expect(of(COMMANDS).map(({ payload }) => payload)).toEqual(['off', 'on', 'off']);
  const values = of(TOPIC).map(({ payload }) => JSON.parse(payload).value);
  expect(values.filter((value, i) => value !== values[i - 1])).toEqual([25, 27, 28, 25]);
});

test('a refused crossing is not told again and again', async () => {
  const setup = await setUp();
  const { broker, clock, sense, startAgent } = setup;
  broker.canPublish = (topic) => topic !== COMMANDS;
  sense('27');
  const agent = await startAgent(source('file = "sensor"', LIMIT));
  await broker.published(COMMANDS);
  const done = broker.published(TOPIC, 4);
  let isDone = false;
  void done.then(() => {
    isDone = true;
  });
  while (!isDone) await clock.advance(20);
  expect(broker.publishes.filter(({ topic }) => topic === COMMANDS).length).toBe(3);
  expect(agent.status().counters.refused).toBe(1);
});
