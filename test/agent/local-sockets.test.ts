import { existsSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { parseAgentConfig } from '@latchkey/agent/daemon';
import type { ConfigError } from '@latchkey/shared';
import { expect, test } from 'vitest';
import { setUpAgent } from '../helpers/agent-setup.ts';
import { askSocket, openEvents } from '../helpers/local-api.ts';
import { runCommand } from '../helpers/processes.ts';

const TELEMETRY = 'devices/t-42/telemetry/x';

const SOCKET = `
[[socket]]
path = "app.sock"
mode = "0600"
publish = ["devices/{client_id}/telemetry/#", "devices/+/shared"]
subscribe = ["devices/t-42/commands/#"]
resources = ["https://api.example"]
`;

async function setUp(config = SOCKET) {
  const setup = await setUpAgent();
  const [main, app] = [join(setup.stateDir, 'agent.sock'), join(setup.dir, 'app.sock')];
  return { ...setup, main, app, start: () => setup.startAgent(config) };
}

const publishStatus = async (socketPath: string, topic: string) =>
  (await askSocket(socketPath, 'POST', '/publish', { topic, payload: 'x' })).status;

test('a socket of the configuration has its mode, and goes with the agent', async () => {
  const { app, main, start } = await setUp();
  const agent = await start();
  expect(statSync(app).mode & 0o777).toBe(0o600);
  expect(statSync(main).mode & 0o777).toBe(0o660);
  expect(process.umask()).not.toBe(0o777);
  await agent.stop();
  expect([existsSync(app), existsSync(main)]).toEqual([false, false]);
});

test('a socket is given to its group', async () => {
  const gid = process.getgid?.() ?? 0;
  const { app, start } = await setUp(`[[socket]]\npath = "app.sock"\ngroup = "${gid}"\n`);
  await start();
  expect(statSync(app)).toMatchObject({ gid });
});

test('a group by its name, and one that does not exist', async () => {
  const { stdout } = await runCommand('id', ['-gn']);
  const known = await setUp(`[[socket]]\npath = "app.sock"\ngroup = "${stdout.trim()}"\n`);
  await known.start();
  const { createAgent, main } = await setUp();
  const config = '[[socket]]\npath = "app.sock"\ngroup = "no-such-group"\n';
  const run = createAgent(config).run(new AbortController().signal);
  await expect(run).rejects.toThrow(/there is no group no-such-group/);
  expect(existsSync(main)).toBe(false); // none stays open
});

test.each([
  { topic: TELEMETRY, app: 202 },
  { topic: 'devices/t-42/telemetry', app: 202 },
  { topic: 'devices/t-43/shared', app: 202 },
  { topic: 'devices/t-43/shared/x', app: 403 },
  { topic: 'devices/t-42/commands/x', app: 403 },
  { topic: '$SYS/x', app: 403 },
])(
  'publishing on $topic: $app by the rules, allowed at the main socket',
  async ({ topic, app }) => {
    const setup = await setUp();
    await setup.start();
    expect(await publishStatus(setup.app, topic)).toBe(app);
    expect(await publishStatus(setup.main, topic)).toBe(202);
  },
);

test.each([
  { filter: 'devices/t-42/commands/#', status: 200 },
  { filter: 'devices/t-42/commands/+', status: 200 },
  { filter: 'devices/t-42/commands/power', status: 200 },
  { filter: 'devices/t-42/#', status: 403 },
  { filter: 'devices/+/commands/#', status: 403 },
  { filter: '#', status: 403 },
])('subscribing to $filter: $status by the rules', async ({ filter, status }) => {
  const { app, start } = await setUp();
  await start();
  const stream = await openEvents(app, `filter=${encodeURIComponent(filter)}`);
  expect(stream.status).toBe(status);
});

test('of an array only what the rules allow is published, each message with its answer', async () => {
  const { app, broker, start } = await setUp();
  await start();
  const messages = [TELEMETRY, 'other', TELEMETRY].map((topic, i) => ({ topic, payload: `${i}` }));
  const { status, body } = await askSocket(app, 'POST', '/publish', messages);
  expect(status).toBe(207);
  expect(body.results).toMatchObject([{ status: 202 }, { status: 403 }, { status: 202 }]);
  await broker.published(TELEMETRY, 2);
  expect(broker.publishes.map(({ payload }) => payload)).toEqual(['0', '2']);
});

test('rules never give more than the device has', async () => {
  const { authority, app, start } = await setUp(
    '[[socket]]\npath = "app.sock"\npublish = ["#"]\nsubscribe = ["#"]\n',
  );
  authority.scope = 'pub:devices/t-42/#';
  await start();
  expect(await publishStatus(app, 'devices/t-42/x')).toBe(202);
  expect(await publishStatus(app, 'devices/t-43/x')).toBe(403);
  expect((await askSocket(app, 'GET', '/subscribe?filter=devices/t-42/x')).status).toBe(403);
});

test('tokens for the resources that the rules name, and for no other', async () => {
  const { app, main, start } = await setUp();
  await start();
  const status = async (socketPath: string, resource: string) =>
    (await askSocket(socketPath, 'POST', '/token', { resource })).status;
  expect(await status(app, 'https://api.example')).toBe(200);
  expect(await status(app, 'https://other.example')).toBe(403);
  expect(await status(main, 'https://other.example')).toBe(200);
});

test('a socket without rules allows status and metrics, and nothing else', async () => {
  const { app, start } = await setUp('[[socket]]\npath = "app.sock"\n');
  await start();
  const status = async (method: string, path: string, body?: object) =>
    (await askSocket(app, method, path, body)).status;
  expect(await status('GET', '/status')).toBe(200);
  expect(await status('GET', '/metrics')).toBe(200);
  expect(await status('POST', '/publish', { topic: 'a' })).toBe(403);
  expect(await status('GET', '/subscribe?filter=a')).toBe(403);
  expect(await status('POST', '/token', { resource: 'https://api.example' })).toBe(403);
  expect(await status('GET', '/outbox')).toBe(403);
  expect(await status('DELETE', '/outbox')).toBe(403);
  expect(await status('DELETE', '/outbox/1')).toBe(403);
});

test('with outbox = true a socket lists and empties the outbox', async () => {
  const { app, start } = await setUp('[[socket]]\npath = "app.sock"\noutbox = true\n');
  await start();
  expect((await askSocket(app, 'GET', '/outbox')).status).toBe(200);
  expect((await askSocket(app, 'DELETE', '/outbox')).status).toBe(200);
});

test('when one socket cannot be opened the agent does not start, and what is there stays', async () => {
  const { createAgent, app, main } = await setUp();
  const server = createServer().listen(app);
  const run = createAgent(SOCKET).run(new AbortController().signal);
  await expect(run).rejects.toThrow(/another agent runs/);
  expect([existsSync(app), existsSync(main)]).toEqual([true, false]);
  server.close();
  const nowhere = createAgent('[[socket]]\npath = "no/such/app.sock"\n');
  const signal = new AbortController().signal;
  await expect(nowhere.run(signal)).rejects.toThrow(/its folder must exist and be writable/);
});

test.each([
  { name: 'no path', toml: '[[socket]]\n', path: 'socket.0.path' },
  { name: 'a long path', toml: `path = "/${'x'.repeat(107)}"`, path: 'socket.0.path' },
  { name: 'a mode that is not octal', toml: 'mode = "rw"', path: 'socket.0.mode' },
  { name: 'a mode with a sticky bit', toml: 'mode = "1777"', path: 'socket.0.mode' },
  { name: 'a bad group', toml: 'group = "a b"', path: 'socket.0.group' },
  { name: 'a bad filter', toml: 'publish = ["a/#/b"]', path: 'socket.0.publish.0' },
  { name: 'a bad resource', toml: 'resources = ["x"]', path: 'socket.0.resources.0' },
  { name: 'an unknown key', toml: 'allow = ["#"]', path: 'socket.0.allow' },
  { name: 'one path twice', toml: '[[socket]]\npath = "app.sock"', path: 'socket' },
])('the configuration refuses $name', ({ toml, path }) => {
  const given = toml.startsWith('path') || toml === '[[socket]]\n' ? '' : 'path = "app.sock"\n';
  const start = 'state_dir = "s"\n[broker]\nurl = "mqtt://localhost"\n[[socket]]\n';
  const text = toml === '[[socket]]\n' ? start : `${start}${given}${toml}\n`;
  try {
    parseAgentConfig(text, '/etc/agent.toml');
    expect.unreachable();
  } catch (error) {
    expect((error as ConfigError).problems.map((problem) => problem.path)).toContain(path);
  }
});
