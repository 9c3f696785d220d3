/** SIGHUP: another configuration for an agent that runs. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAgentConfig } from '@latchkey/agent/daemon';
import { expect, test } from 'vitest';
import { planReload } from '../../agent/src/reload-plan.ts';
import { startAedesBroker } from '../helpers/aedes-broker.ts';
import { setUpAgent } from '../helpers/agent-setup.ts';
import { enrollDevice } from '../helpers/enrolled-device.ts';
import { startNotifySocket } from '../helpers/notify-socket.ts';
import { mustRun, startProgram } from '../helpers/processes.ts';

const BASE = 'state_dir = "state"\n[broker]\nurl = "mqtts://broker.example"\n';
const SOURCE = `[[source]]\nname = "t"\nfile = "x"\nevery_seconds = 5\ntopic = "a/t"\n`;
const ACTION = `[[action]]\nname = "p"\nfilter = "a/p"\ncommand = ["true"]\n`;
const parse = (text: string, file = '/etc/latchkey/agent.toml') => parseAgentConfig(text, file);

test.each([
  { name: 'nothing', next: BASE, applied: [], needsRestart: [] },
  { name: 'a comment', next: `# new\n${BASE}`, applied: [], needsRestart: [] },
  { name: 'a source', next: BASE + SOURCE, applied: ['source'], needsRestart: [] },
  { name: 'an action', next: BASE + ACTION, applied: ['action'], needsRestart: [] },
  { name: 'the log level', next: `log_level = "debug"\n${BASE}`, applied: ['log_level'] },
  {
    name: 'the broker',
    next: BASE.replace('broker.example', 'other.example'),
    applied: ['broker'],
  },
  { name: 'the outbox', next: `${BASE}[outbox]\nmax_messages = 5\n`, applied: ['outbox'] },
  {
    name: 'the state folder',
    next: BASE.replace('"state"', '"other"'),
    applied: [],
    needsRestart: ['state_dir'],
  },
  {
    name: 'a key of ssh-agent',
    next: `${BASE}[key]\nssh_agent_socket = "/run/agent"\n`,
    applied: [],
    needsRestart: ['key'],
  },
])('of a file with another $name: $applied at once, $needsRestart at the next start', (row) => {
  const now = parse(BASE);
  const plan = planReload(now, parse(row.next));
  expect([plan.applied, plan.needsRestart]).toEqual([row.applied, row.needsRestart ?? []]);
  expect(plan.config.stateDir).toBe(now.stateDir);
  expect(plan.config.key).toEqual(now.key);
});

async function setUp(config = '') {
  const setup = await setUpAgent({ random: () => 0 });
  const { broker, dir } = setup;
  const agent = await setup.startAgent(config);
  const toml = (more: string, inBroker = '') =>
    `state_dir = "state"\n[broker]\nurl = "${broker.url}"\n${inBroker}${more}`;
  const reload = (more: string, inBroker?: string) =>
    agent.reload(parse(toml(more, inBroker), join(dir, 'agent.toml')));
  const source = (name: string, more = '') =>
    `[[source]]\nname = "${name}"\nfile = "sensor"\nevery_seconds = 5\ntopic = "a/${name}"\n${more}`;
  return { ...setup, agent, reload, source };
}

const count = (setup: { broker: { publishes: readonly { topic: string }[] } }, topic: string) =>
  setup.broker.publishes.filter((one) => one.topic === topic).length;

test('a new source begins, a removed one ends, and the others are not read once more', async () => {
  const setup = await setUp();
  const { agent, broker, clock, dir, reload, source } = setup;
  writeFileSync(join(dir, 'sensor'), '20');
  expect(reload(source('one') + source('two')).applied).toEqual(['source']);
  await Promise.all([broker.published('a/one'), broker.published('a/two')]);
  expect(reload(source('two') + source('three')).applied).toEqual(['source']);
  await broker.published('a/three');
  expect(count(setup, 'a/two')).toBe(1);
  await clock.untilSleeping(5000);
  await clock.advance(5000);
  await broker.published('a/two', 2);
  await broker.published('a/three', 2);
  expect(count(setup, 'a/one')).toBe(1);
  expect(broker.connects.length).toBe(1);
  expect(agent.status().state).toBe('online');
});

test('actions come and go: subscribed, run to their end, and unsubscribed', async () => {
  const action = (name: string) =>
    `[[action]]\nname = "${name}"\nfilter = "a/${name}"\ncommand = ["sh", "-c", "cat >> ${name}; echo done"]\ntopic = "b/${name}"\n`;
  const { broker, dir, logger, reload } = await setUp(action('one') + action('two'));
  await broker.send('a/one', 'x');
  await broker.published('b/one');
  expect(reload(action('two') + action('three')).applied).toEqual(['action']);
  while (!broker.subscribes.includes('a/three')) await new Promise(setImmediate);
  await broker.send('a/two', 'y');
  await broker.send('a/three', 'z');
  await Promise.all([broker.published('b/two'), broker.published('b/three')]);
  await broker.send('a/one', 'w');
  expect(readFileSync(join(dir, 'one'), 'utf8')).toBe('x');
  expect(broker.subscribes.filter((filter) => filter === 'a/two').length).toBe(1); // left alone
  expect(logger.all('action.run').length).toBe(3);
  expect(broker.connects.length).toBe(1);
});

test('a command that runs when its action is removed is not killed', async () => {
  const action = `[[action]]\nname = "one"\nfilter = "a"\ncommand = ["sh", "-c", "touch begun; until test -e go; do sleep 0.02; done; touch ended"]\ntopic = "b"\n`;
  const { broker, dir, reload } = await setUp(action);
  await broker.send('a', 'x');
  while (!existsSync(join(dir, 'begun'))) await new Promise(setImmediate);
  reload('');
  writeFileSync(join(dir, 'go'), '');
  await broker.published('b');
  expect(existsSync(join(dir, 'ended'))).toBe(true);
});

test('another broker section reconnects, and what was accepted meanwhile arrives', async () => {
  const { agent, broker, reload } = await setUp();
  const message = { payload: Buffer.from('x'), qos: 1, isRetained: false } as const;
  const accepted = Array.from({ length: 50 }, (_, index) =>
    agent.publish({ ...message, topic: `a/${index}` }),
  );
  expect(reload('', 'keepalive_seconds = 60\n').applied).toEqual(['broker']);
  await Promise.all(accepted);
  await broker.connected(2);
  await broker.published('a/49');
  expect(new Set(broker.publishes.map(({ topic }) => topic)).size).toBe(50);
  expect(agent.status().state).not.toBe('offline');
});

test('a smaller outbox counts from the next message on', async () => {
  const { agent, broker, logger, reload } = await setUp();
  await broker.stop();
  await logger.event('agent.state', { state: 'backing-off' });
  const publish = (topic: string) =>
    agent.publish({ topic, payload: Buffer.from('x'), qos: 1, isRetained: false });
  for (const topic of ['a', 'b', 'c']) await publish(topic);
  reload('[outbox]\nmax_messages = 2\n');
  await publish('d');
  expect(agent.status().counters.dropped).toBe(2);
});

test('SIGHUP: a wrong file changes nothing and is told; a right one is applied on the same connection', async () => {
  const { dir, stateDir, config } = await enrollDevice();
  const [broker, notify] = [await startAedesBroker(), await startNotifySocket()];
  const write = (before: string, after = '') =>
    writeFileSync(
      config,
      `${before}state_dir = "state"\n[broker]\nurl = "${broker.url}"\n${after}`,
    );
  write('');
  const agent = startProgram('latchkey-agent', ['run', '--config', config], {
    environment: { NOTIFY_SOCKET: notify.address },
  });
  const isReady = ({ READY }: Readonly<Record<string, string>>) => READY === '1';
  await notify.message(isReady);
  const hangUp = () => {
    agent.child.kill('SIGHUP');
    const from = notify.messages.length;
    return notify.message((one) => isReady(one) && notify.messages.indexOf(one) >= from);
  };
  const status = async () =>
    JSON.parse(await mustRun('latchkey-agent', ['status', '--json', '--state-dir', stateDir]));

  write('log_level = "loud"\n', 'unknown = 1\n');
  const refused = await hangUp();
  expect(refused.STATUS).toMatch(/^online; the new configuration is refused: .*log_level.*unknown/);
  expect(await agent.event('config.refused')).toMatchObject({ level: 50 });
  expect(await status()).toMatchObject({
    state: 'online',
    last_error: { message: expect.stringContaining('log_level') },
  });

  writeFileSync(join(dir, 'sensor'), '21');
  const source = `[[source]]\nname = "t"\nfile = "sensor"\nevery_seconds = 0.1\ntopic = "a/t"\n`;
  write('log_level = "debug"\n', source);
  expect(await hangUp()).toMatchObject({ STATUS: 'online' });
  expect((await agent.event('config.reloaded')).applied).toEqual(['log_level', 'source']);
  await broker.published('a/t');
  await agent.event('message.published'); // at level debug

  writeFileSync(config, readFileSync(config, 'utf8').replace('"state"', '"other"'));
  expect(await hangUp()).toMatchObject({ STATUS: 'online; restart to apply state_dir' });

  const reloads = notify.messages.filter((one) => 'RELOADING' in one);
  expect(reloads.length).toBe(3);
  for (const { MONOTONIC_USEC } of reloads) expect(MONOTONIC_USEC).toMatch(/^[1-9]\d{6,}$/);
  expect(broker.connects.length).toBe(1);
  expect(await agent.stop()).toBe(0);
});
