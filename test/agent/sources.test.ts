import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { decode as decodeCborOfOthers } from 'cbor-x';
import { describe, expect, onTestFinished, test } from 'vitest';
import { runAgentCli } from '../helpers/agent-cli.ts';
import { type AgentSetup, setUpAgent } from '../helpers/agent-setup.ts';

const TOPIC = 'devices/t-42/telemetry/t';
const COMMANDS = 'devices/ac-7/commands/power';
/** No other part of the agent sleeps that long. */
const EVERY_MS = 7000;
const source = (input: string, more = '') =>
  `[[source]]\nname = "t"\n${input}\nevery_seconds = ${EVERY_MS / 1000}\ntopic = "${TOPIC}"\n${more}`;
const LIMIT = `[[source.limit]]\nabove = 26.0\nhysteresis = 0.5\ntopic = "${COMMANDS}"\npayload_above = "on"\npayload_below = "off"\n`;

/** The first reading comes at once. */
async function setUp(random = () => 0): Promise<AgentSetup & { sense(text: string): void }> {
  const setup = await setUpAgent({ random });
  // Put in its place whole: a reading that is under way finds the old text or the new one.
  const sense = (text: string) => {
    writeFileSync(join(setup.dir, 'next'), text);
    renameSync(join(setup.dir, 'next'), join(setup.dir, 'sensor'));
  };
  return { ...setup, sense };
}

/** Lets the reading of the next interval happen: `reading` is how the test sees that it did. */
async function nextReading({ clock }: AgentSetup, reading: Promise<unknown>) {
  await clock.untilSleeping(EVERY_MS);
  await clock.advance(EVERY_MS);
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
  { name: 'a pipe that nobody writes to', input: 'file = "pipe"', detail: /no number/ },
  { name: 'a file that is too long', input: 'file = "long"', detail: /longer than 65536 bytes/ },
  { name: 'JSON that is none', input: 'file = "empty"\nreads = "json"', detail: /not JSON/ },
  {
    name: 'JSON that is nested too deeply',
    input: 'file = "deep"\nreads = "json"\nformat = "cbor"',
    detail: /more than 32 levels/,
  },
  {
    name: 'JSON without the field',
    input: 'file = "json"\nreads = "json"\nfield = "a.c"',
    detail: /no number at a.c/,
  },
  {
    name: 'JSON in which the field is no number',
    input: 'file = "json"\nreads = "json"\nfield = "a"',
    detail: /no number at a/,
  },
  {
    name: 'JSON without a number for the limits',
    input: 'file = "json"\nreads = "json"',
    more: LIMIT,
    detail: /no number for the limits/,
  },
  { name: 'a command that fails', input: 'command = ["false"]', detail: /failed \(1\)/ },
  { name: 'a command that does not exist', input: 'command = ["/no/such"]', detail: /ENOENT/ },
  { name: 'too much output', input: 'command = ["yes", "1"]', detail: /too-much-output/ },
])('$name: counted, logged as a warning once, and tried again', async ({ input, more, detail }) => {
  const setup = await setUp();
  const { broker, clock, dir, logger, startAgent } = setup;
  writeFileSync(join(dir, 'empty'), 'none');
  writeFileSync(join(dir, 'long'), `1${' '.repeat(64 * 1024)}`);
  writeFileSync(join(dir, 'deep'), '['.repeat(32_000) + ']'.repeat(32_000));
  writeFileSync(join(dir, 'json'), '{"a": {"b": 1}}');
  mkdirSync(join(dir, 'folder'));
  execFileSync('mkfifo', [join(dir, 'pipe')]);
  const agent = await startAgent(source(input, more));
  expect((await logger.event('source.failed')).detail).toMatch(detail);
  await clock.untilSleeping(EVERY_MS);
  const again = logger.event('source.failed', {}, logger.lines.length);
  await clock.advance(EVERY_MS);
  await again;
  expect(agent.status().counters.failedReadings).toBe(2);
  const levels = logger.lines.flatMap(({ level, fields }) =>
    fields.event === 'source.failed' ? [level] : [],
  );
  expect(levels).toEqual(['warn', 'debug']);
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
  const setup = await setUp(() => 0.5);
  const { broker, clock, logger, sense, startAgent } = setup;
  sense('25');
  await startAgent(source('file = "sensor"', LIMIT));
  await clock.untilSleeping(EVERY_MS / 2);
  await clock.advance(EVERY_MS / 2);
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

test('an outage is told once, and its end too', async () => {
  const setup = await setUp();
  const { broker, dir, logger, sense, startAgent } = setup;
  await startAgent(source('file = "sensor"'));
  await logger.event('source.failed');
  sense('1');
  await nextReading(setup, broker.published(TOPIC));
  expect(logger.all('source.recovered')).toEqual([{ event: 'source.recovered', name: 't' }]);
  const again = logger.event('source.failed', {}, logger.lines.length);
  rmSync(join(dir, 'sensor'));
  await nextReading(setup, again);
  expect(logger.lines.filter(({ fields }) => fields.event === 'source.failed')).toMatchObject([
    { level: 'warn' },
    { level: 'warn' },
  ]);
});

test('changed_by: only what differs by more from the last one published, and all after a while', async () => {
  const setup = await setUp();
  const { broker, clock, logger, sense, startAgent } = setup;
  sense('20');
  const agent = await startAgent(
    source('file = "sensor"\nchanged_by = 0.2\nat_least_every_seconds = 35'),
  );
  await broker.published(TOPIC);
  const readings = () => {
    const { unchangedReadings, published } = agent.status().counters;
    return unchangedReadings + published;
  };
  for (const [i, value] of [
    '20.2',
    '20.1',
    '20.21',
    '20.01',
    '20',
    ...Array(5).fill('20'),
  ].entries()) {
    sense(value);
    await clock.untilSleeping(EVERY_MS);
    await clock.advance(EVERY_MS);
    while (readings() < i + 2) await clock.advance(0);
  }
  expect(broker.publishes.map(({ payload }) => JSON.parse(payload).value)).toEqual([
    20, 20.21, 20, 20,
  ]);
  expect(agent.status().counters).toMatchObject({ unchangedReadings: 7, droppedReadings: 0 });
  expect(logger.all('source.failed')).toEqual([]);
});

test('JSON: the field decides, all of it is published', async () => {
  const setup = await setUp();
  const { broker, sense, startAgent } = setup;
  const sensor = (degrees: number, count: number) =>
    sense(JSON.stringify({ main: { degrees }, count }));
  sensor(20, 1);
  const input = 'file = "sensor"\nreads = "json"\nfield = "main.degrees"\nchanged_by = 1';
  await startAgent(source(input, LIMIT));
  await broker.published(COMMANDS);
  sensor(21, 2);
  await nextReading(setup, Promise.resolve());
  sensor(27, 3);
  await nextReading(setup, broker.published(TOPIC, 2));
  const values = broker.publishes.filter(({ topic }) => topic === TOPIC);
  expect(values.map(({ payload }) => JSON.parse(payload).value)).toEqual([
    { main: { degrees: 20 }, count: 1 },
    { main: { degrees: 27 }, count: 3 },
  ]);
  expect((await broker.published(COMMANDS, 2)).payload).toBe('on');
});

test('text: published trimmed, and changed_by = 0 tells every other text', async () => {
  const setup = await setUp();
  const { broker, sense, startAgent } = setup;
  sense(' open\n');
  await startAgent(source('file = "sensor"\nreads = "text"\nchanged_by = 0'));
  await broker.published(TOPIC);
  sense('open');
  await nextReading(setup, Promise.resolve());
  sense('shut');
  await nextReading(setup, broker.published(TOPIC, 2));
  expect(broker.publishes.map(({ payload }) => JSON.parse(payload).value)).toEqual([
    'open',
    'shut',
  ]);
});

test.each([
  { format: 'json', parse: (payload: Buffer) => JSON.parse(payload.toString()) },
  { format: 'cbor', parse: decodeCborOfOthers },
])('format = "$format"', async ({ format, parse }) => {
  const { broker, clock, sense, startAgent } = await setUp();
  sense('26.5');
  await startAgent(source(`file = "sensor"\nunit = "celsius"\nformat = "${format}"`));
  await broker.published(TOPIC);
  expect(parse(broker.publishes[0]!.bytes)).toEqual({
    value: 26.5,
    unit: 'celsius',
    at: clock.now(),
  });
});

test('{client_id} in the topics of a source and its limits is the id of the device', async () => {
  const { broker, sense, startAgent } = await setUp();
  sense('27');
  const fleet = (topic: string) => topic.replace('t-42', '{client_id}');
  const limit = LIMIT.replace(COMMANDS, 'devices/{client_id}/alarm');
  await startAgent(fleet(source('file = "sensor"', limit)));
  await broker.published(TOPIC);
  await broker.published('devices/t-42/alarm');
});

test('the first reading comes at a random moment of the interval, 10 s at most', async () => {
  const setup = await setUpAgent({ random: () => 0.999 });
  const { broker, clock, dir, startAgent } = setup;
  writeFileSync(join(dir, 'sensor'), '1');
  const slow = source('file = "sensor"').replace('= 7', '= 3600').replaceAll('"t"', '"slow"');
  await startAgent(source('file = "sensor"') + slow.replace(TOPIC, `${TOPIC}/slow`));
  await clock.untilSleeping(6993);
  await clock.untilSleeping(9990);
  await clock.advance(6992);
  expect(broker.publishes).toEqual([]);
  await clock.advance(1);
  await broker.published(TOPIC);
  await clock.advance(9990);
  await broker.published(`${TOPIC}/slow`);
});

test('a reading that takes longer than the interval is not joined by another', async () => {
  const setup = await setUp();
  const { clock, dir, broker, startAgent } = setup;
  const script = 'echo x >> runs; while [ ! -e go ]; do sleep 0.01; done; echo 1';
  const command = JSON.stringify(['sh', '-c', script]);
  await startAgent(source(`command = ${command}\ntimeout_seconds = 100`));
  const runs = () => (existsSync(join(dir, 'runs')) ? readFileSync(join(dir, 'runs'), 'utf8') : '');
  while (runs() === '') await new Promise(setImmediate);
  await clock.advance(11_000);
  writeFileSync(join(dir, 'go'), '');
  await broker.published(TOPIC);
  expect(runs()).toBe('x\n');
  await clock.untilSleeping(3000); // the moments stay those of the interval
  await clock.advance(3000);
  await broker.published(TOPIC, 2);
});

describe('socket', () => {
  /** A server that answers each connection with `answer`, on TCP or on a socket file of the folder. */
  async function serve(dir: string, answer: (socket: Socket) => void, isUnix = false) {
    const server = createServer(answer);
    onTestFinished(() => void server.close());
    if (isUnix) server.listen(join(dir, 'sensor.sock'));
    else server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    return typeof address === 'string'
      ? 'socket = "unix:sensor.sock"'
      : `socket = "tcp://127.0.0.1:${address?.port}"`;
  }

  test.each([
    { name: 'TCP', isUnix: false },
    { name: 'a Unix socket', isUnix: true },
  ])('$name: sends the request, and the first line is the reading', async ({ isUnix }) => {
    const { broker, dir, startAgent } = await setUp();
    const input = await serve(
      dir,
      (socket) =>
        socket.once('data', (request) => {
          socket.write(`${request.toString().trim() === 'READ' ? 2 : 0}`);
          setImmediate(() => socket.write('1.5\n99'));
        }),
      isUnix,
    );
    await startAgent(source(`${input}\nsend = "READ\\n"`));
    expect(JSON.parse((await broker.published(TOPIC)).payload).value).toBe(21.5);
  });

  test('until = "end" reads several lines', async () => {
    const { broker, dir, startAgent } = await setUp();
    const input = await serve(dir, (socket) => socket.end('{"a":\n1}\n'));
    await startAgent(source(`${input}\nuntil = "end"\nreads = "json"`));
    expect(JSON.parse((await broker.published(TOPIC)).payload).value).toEqual({ a: 1 });
  });

  test.each([
    {
      name: 'closes at once',
      answer: (socket: Socket) => socket.end(),
      detail: /without an answer/,
    },
    {
      name: 'breaks off',
      answer: (socket: Socket) => socket.resetAndDestroy(),
      detail: /ECONNRESET/,
    },
    {
      name: 'never ends its line',
      answer: (socket: Socket) => socket.write('1'.repeat(64 * 1024 + 1)),
      detail: /longer than 65536 bytes/,
    },
  ])('a server that $name is a failed reading', async ({ answer, detail }) => {
    const { dir, logger, startAgent } = await setUp();
    const input = await serve(dir, (socket) => {
      socket.on('error', () => undefined);
      answer(socket);
    });
    await startAgent(source(input));
    expect((await logger.event('source.failed')).detail).toMatch(detail);
  });

  test('a server that says nothing is left at the time-out', async () => {
    const { clock, dir, logger, startAgent } = await setUp();
    const connected = new Promise<Socket>((resolve) => {
      void serve(dir, resolve).then((input) => startAgent(source(`${input}\ntimeout_seconds = 3`)));
    });
    const closed = once(await connected, 'close');
    await clock.untilSleeping(3000);
    await clock.advance(3000);
    expect((await logger.event('source.failed')).detail).toMatch(/timeout/);
    await closed;
  });

  test('a missing server is a failed reading', async () => {
    const { logger, startAgent } = await setUp();
    await startAgent(source('socket = "unix:nowhere.sock"'));
    expect((await logger.event('source.failed')).detail).toMatch(/ENOENT/);
  });
});
