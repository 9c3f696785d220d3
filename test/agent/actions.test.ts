import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { setUpAgent } from '../helpers/agent-setup.ts';

const STATE = 'devices/t-42/state';
const action = (command: readonly string[], more = `topic = "${STATE}"\n`) =>
  `[[action]]\nname = "a"\nfilter = "devices/t-42/commands/+"\ncommand = ${JSON.stringify(command)}\n${more}`;

test('gives the payload on stdin and publishes the output, less its last line end', async () => {
  const { broker, logger, startAgent } = await setUpAgent();
  await startAgent(
    action(['node', '-e', 'process.stdin.on("data", (d) => console.log("got " + d))']),
  );
  await broker.send('devices/t-42/commands/power', 'on');
  expect((await broker.published(STATE)).payload).toBe('got on');
  expect(logger.all('action.run')).toMatchObject([{ name: 'a', exitCode: 0 }]);
});

test('the topic is in LATCHKEY_TOPIC and in no argument', async () => {
  const { broker, startAgent } = await setUpAgent();
  const script = 'console.log(process.env.LATCHKEY_TOPIC, process.argv.length)';
  await startAgent(action(['node', '-e', script]));
  await broker.send('devices/t-42/commands/--eval', 'x');
  expect((await broker.published(STATE)).payload).toBe('devices/t-42/commands/--eval 1');
});

test('messages of one action run one after the other, in order', async () => {
  const { broker, dir, startAgent } = await setUpAgent();
  const script =
    'let s="";process.stdin.on("data",d=>s+=d).on("end",()=>setTimeout(()=>{require("fs").appendFileSync("log",s);console.log(s)},s==="1"?150:0))';
  await startAgent(action(['node', '-e', script]));
  for (const text of ['1', '2', '3']) await broker.send('devices/t-42/commands/x', text);
  await broker.published(STATE, 3);
  expect(readFileSync(join(dir, 'log'), 'utf8')).toBe('123');
});

test.each([
  {
    name: 'fails',
    command: ['sh', '-c', 'echo no >&2; exit 3'],
    fields: { exitCode: 3, end: 'exited', detail: 'no' },
  },
  {
    name: 'does not exist',
    command: ['/no/such'],
    fields: { exitCode: null, end: 'not-started', detail: 'ENOENT' },
  },
  { name: 'prints too much', command: ['yes'], fields: { exitCode: null, end: 'too-much-output' } },
])('a command that $name: told, and its output is not published', async ({ command, fields }) => {
  const { broker, logger, startAgent } = await setUpAgent();
  const agent = await startAgent(action(command));
  await broker.send('devices/t-42/commands/x', '');
  expect(await logger.event('action.run')).toMatchObject(fields);
  expect(broker.publishes).toEqual([]);
  expect(agent.status().counters).toMatchObject({ received: 1, actions: 1, failedActions: 1 });
});

test('a command that hangs is killed at its time-out, with what it started', async () => {
  const { broker, clock, dir, logger, startAgent } = await setUpAgent();
  const command = ['sh', '-c', 'sleep 1000 & echo $! > pid; wait'];
  await startAgent(action(command, 'timeout_seconds = 7\n'));
  await broker.send('devices/t-42/commands/x', '');
  await clock.untilSleeping(7000);
  while (!existsSync(join(dir, 'pid')) || readFileSync(join(dir, 'pid'), 'utf8') === '') {
    await new Promise(setImmediate);
  }
  await clock.advance(7000);
  expect(await logger.event('action.run')).toMatchObject({ exitCode: null, end: 'timeout' });
  const pid = Number(readFileSync(join(dir, 'pid'), 'utf8'));
  const isGone = () => {
    try {
      return readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ')[2] === 'Z';
    } catch {
      return true;
    }
  };
  while (!isGone()) await new Promise(setImmediate);
});

test('commands are killed when the agent ends', async () => {
  const { broker, clock, startAgent } = await setUpAgent();
  const agent = await startAgent(action(['sleep', '1000'], 'timeout_seconds = 77\n'));
  await broker.send('devices/t-42/commands/x', '');
  await clock.untilSleeping(77_000);
  expect(await agent.stop()).toBe('aborted');
});

test('beyond 16 waiting messages the oldest is dropped and counted', async () => {
  const { broker, clock, logger, startAgent } = await setUpAgent();
  const agent = await startAgent(action(['sleep', '1000'], 'timeout_seconds = 77\n'));
  for (let i = 0; i < 18; i += 1) await broker.send('devices/t-42/commands/x', '');
  await clock.untilSleeping(77_000);
  await logger.event('action.dropped');
  expect(agent.status().counters.received).toBeGreaterThan(16);
});

test('max_waiting = 1: what was asked for last is done last', async () => {
  const { broker, dir, logger, startAgent } = await setUpAgent();
  const script = 'cat >> log; while [ ! -e go ]; do sleep 0.01; done; cat log';
  const agent = await startAgent(
    action(['sh', '-c', script], `topic = "${STATE}"\nmax_waiting = 1\n`),
  );
  for (const text of ['1', '2', '3', '4']) await broker.send('devices/t-42/commands/x', text);
  while (agent.status().counters.droppedActions < 2) await new Promise(setImmediate);
  writeFileSync(join(dir, 'go'), '');
  expect((await broker.published(STATE, 2)).payload).toBe('14');
  expect(logger.all('action.dropped').length).toBe(2);
});

test.each([
  { payload: 'on', isRun: true },
  { payload: 'off', isRun: true },
  { payload: 'On', isRun: false },
  { payload: 'on\n', isRun: false },
  { payload: '', isRun: false },
])('payloads = ["on", "off"]: $payload runs: $isRun', async ({ payload, isRun }) => {
  const { broker, logger, startAgent } = await setUpAgent();
  const agent = await startAgent(action(['cat'], `topic = "${STATE}"\npayloads = ["on", "off"]\n`));
  await broker.send('devices/t-42/commands/x', payload);
  if (isRun) expect((await broker.published(STATE)).payload).toBe(payload);
  else await logger.event('action.refused');
  expect(agent.status().counters.refusedActions).toBe(isRun ? 0 : 1);
  expect(logger.text()).not.toContain(JSON.stringify(payload || 'never'));
});

test('publishes = "result": how the command ended, also when it failed', async () => {
  const { broker, clock, startAgent } = await setUpAgent();
  const more = `topic = "${STATE}"\npublishes = "result"\n`;
  await startAgent(action(['sh', '-c', 'cat; echo no >&2; exit 3'], more));
  await broker.send('devices/t-42/commands/x', 'hello\n');
  expect(JSON.parse((await broker.published(STATE)).payload)).toEqual({
    topic: 'devices/t-42/commands/x',
    end: 'exited',
    exit_code: 3,
    output: 'hello\n',
    error: 'no',
    at: clock.now(),
  });
});

test('publishes = "result" tells of a time-out', async () => {
  const { broker, clock, startAgent } = await setUpAgent();
  const more = `topic = "${STATE}"\npublishes = "result"\ntimeout_seconds = 7\n`;
  await startAgent(action(['sleep', '1000'], more));
  await broker.send('devices/t-42/commands/x', '');
  await clock.untilSleeping(7000);
  await clock.advance(7000);
  expect(JSON.parse((await broker.published(STATE)).payload)).toMatchObject({
    end: 'timeout',
    exit_code: null,
  });
});

test('{client_id} in filter and topic is the id of the device', async () => {
  const { broker, startAgent } = await setUpAgent();
  const more = 'topic = "devices/{client_id}/state"\n';
  await startAgent(action(['cat'], more).replace('t-42', '{client_id}'));
  await broker.send('devices/t-42/commands/x', 'on');
  expect((await broker.published(STATE)).payload).toBe('on');
  expect(broker.subscribes).toEqual(['devices/t-42/commands/+']);
});

test('a message that is too large runs nothing', async () => {
  const { broker, logger, startAgent } = await setUpAgent();
  await startAgent(action(['true']));
  await broker.send('devices/t-42/commands/x', 'x'.repeat(256 * 1024 + 1));
  await logger.event('message.too-large');
  await broker.send('devices/t-42/commands/x', 'x'.repeat(256 * 1024));
  await logger.event('action.run');
  expect(logger.all('action.run').length).toBe(1);
});

test('a message that no action wants is counted and nothing else', async () => {
  const { broker, dir, logger, startAgent } = await setUpAgent();
  writeFileSync(join(dir, 'x'), '');
  const other = '[[action]]\nname = "b"\nfilter = "other/#"\ncommand = ["true"]\n';
  await startAgent(action(['true']) + other);
  await broker.send('devices/t-42/commands/x', 'on');
  await logger.event('action.run');
  expect(logger.all('action.run')).toMatchObject([{ name: 'a' }]);
});

test('neither argv nor environment of a command holds a token or a key', async () => {
  const { authority, broker, startAgent } = await setUpAgent();
  const script =
    'console.log(require("fs").readFileSync("/proc/self/cmdline","utf8"), JSON.stringify(process.env))';
  await startAgent(action(['node', '-e', script]));
  await broker.send('devices/t-42/commands/x', '');
  const { payload } = await broker.published(STATE);
  expect(payload).toContain('LATCHKEY_TOPIC');
  expect(payload).not.toContain(authority.issued[0]!.text);
  expect(payload).not.toContain('PRIVATE');
});
