import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '@latchkey/shared';
import { expect, test } from 'vitest';
import { runAgentCli } from '../helpers/agent-cli.ts';
import { setUpAgent } from '../helpers/agent-setup.ts';
import { selfSigned } from '../helpers/certificate.ts';
import { temporaryDir } from '../helpers/processes.ts';
import { startTokenServer } from '../helpers/token-server.ts';

const COMMANDS = [
  'enroll',
  'key create',
  'key show',
  'key rotate',
  'run',
  'publish',
  'status',
  'token',
  'validate',
];
const TOPIC = 'devices/t-42/telemetry/x';

test.each(['', ...COMMANDS])('help of "%s" shows an example', async (command) => {
  const { exitCode, stdout } = await runAgentCli([...command.split(' ').filter(Boolean), '--help']);
  expect(exitCode).toBe(0);
  expect(stdout).toMatch(new RegExp(`Example:\n  .*latchkey-agent ${command}`));
});

test('--version prints the version alone', async () => {
  expect(await runAgentCli(['--version'])).toEqual({ exitCode: 0, stdout: '0.1.0\n', stderr: '' });
});

test.each([
  { name: 'no command', args: [] },
  { name: 'unknown command', args: ['enrol'] },
  { name: 'unknown option', args: ['status', '--state-dir', 's', '--verbose'] },
  { name: 'missing option', args: ['status'] },
  { name: 'missing topic', args: ['publish', '--state-dir', 's'] },
  { name: 'an extra argument', args: ['token', 'x', '--state-dir', 's'] },
  { name: 'a wildcard topic', args: ['publish', 'a/#', '--state-dir', 's'] },
  { name: 'QoS 3', args: ['publish', 'a', '--qos', '3', '--state-dir', 's'] },
  { name: 'a resource that is no URI', args: ['token', '--resource', 'x', '--state-dir', 's'] },
  { name: 'a folder that does not exist', args: ['token', '--state-dir', '/no/such'] },
  { name: 'a config that does not exist', args: ['run', '--config', '/no/such'] },
])('$name: exit code 2, a message on stderr, nothing on stdout', async ({ args }) => {
  const { exitCode, stdout, stderr } = await runAgentCli(args);
  expect([exitCode, stdout]).toEqual([2, '']);
  expect(stderr).not.toBe('');
  expect(stderr).not.toMatch(/\n\s+at /);
});

async function enrollment() {
  const authority = await startTokenServer(systemClock);
  const dir = temporaryDir();
  const codeFile = join(dir, 'code');
  writeFileSync(codeFile, `${authority.code}\n`);
  const stateDir = join(dir, 'state');
  const args = (change: { authority?: string; id?: string; file?: string } = {}) => [
    ...['enroll', '--authority', change.authority ?? authority.issuer],
    ...['--client-id', change.id ?? 't-42', '--code-file', change.file ?? codeFile],
    ...['--state-dir', stateDir],
  ];
  return { authority, stateDir, args };
}

test('enroll: by file, says who it is; again: says so; as another: refused', async () => {
  const { authority, args } = await enrollment();
  const first = await runAgentCli(args());
  expect([first.exitCode, first.stdout]).toEqual([0, '']);
  expect(first.stderr).toMatch(/^enrolled as t-42 at http/);
  const requests = authority.requests.length;
  const again = await runAgentCli(args());
  expect(again.exitCode).toBe(0);
  expect(again.stderr).toMatch(/^already enrolled as t-42/);
  expect((await runAgentCli(args({ id: 't-43' }))).exitCode).toBe(2);
  expect(authority.requests.length).toBe(requests);
  for (const { stderr } of [first, again]) expect(stderr).not.toContain(authority.code);
});

test('enroll: the code from stdin', async () => {
  const { authority, args } = await enrollment();
  const { exitCode } = await runAgentCli(args({ file: '-' }), { input: `${authority.code}\n` });
  expect(exitCode).toBe(0);
});

test.each([
  { name: 'a missing code file', change: { file: '/no/such' }, exitCode: 2 },
  { name: 'a bad client id', change: { id: 'a/b' }, exitCode: 2 },
  { name: 'http beyond loopback', change: { authority: 'http://id.example' }, exitCode: 2 },
  { name: 'an empty stdin', change: { file: '-' }, exitCode: 2 },
  { name: 'nobody there', change: { authority: 'http://127.0.0.1:1' }, exitCode: 3 },
])('enroll: $name: exit code $exitCode', async ({ change, exitCode }) => {
  const { stateDir, args } = await enrollment();
  expect((await runAgentCli(args(change))).exitCode).toBe(exitCode);
  expect(existsSync(join(stateDir, 'identity.json'))).toBe(false);
});

test('enroll: refused by the authority: exit code 1, and the code is not printed', async () => {
  const { args } = await enrollment();
  const code = `lke_${'x'.repeat(22)}`;
  const { exitCode, stderr } = await runAgentCli(args({ file: '-' }), { input: code });
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(/invalid_grant/);
  expect(stderr).not.toContain(code);
});

test('token: prints the token alone; several scopes are joined', async () => {
  const { authority, args, stateDir } = await enrollment();
  await runAgentCli(args());
  const token = (...more: string[]) => runAgentCli(['token', '--state-dir', stateDir, ...more]);
  expect(await token()).toEqual({
    exitCode: 0,
    stdout: `${authority.issued[0]!.text}\n`,
    stderr: '',
  });
  const scoped = ['--resource', 'https://api.example', '--scope', 'a', '--scope', 'b'];
  await token(...scoped);
  await token(...scoped);
  expect(authority.issued.length).toBe(2);
  expect(authority.issued[1]).toMatchObject({ resource: 'https://api.example', scope: 'a b' });
  await authority.stop();
  expect((await token('--scope', 'c')).exitCode).toBe(3);
});

test('publish: through the running agent, from stdin and from --message', async () => {
  const { broker, stateDir, startAgent } = await setUpAgent();
  await startAgent();
  const publish = (input: string, ...more: string[]) =>
    runAgentCli(['publish', TOPIC, '--state-dir', stateDir, ...more], { input });
  expect(await publish('21.5', '--wait')).toEqual({ exitCode: 0, stdout: '', stderr: '' });
  await publish('', '--message', 'on', '--retain', '--qos', '2', '--wait');
  expect(broker.publishes).toMatchObject([
    { payload: '21.5', qos: 1, retain: false },
    { payload: 'on', qos: 2, retain: true },
  ]);
});

test('publish: refused is exit code 1 with the reason, kept while offline 0, no agent 3', async () => {
  const { authority, broker, logger, stateDir, startAgent } = await setUpAgent();
  authority.scope = 'pub:devices/t-42/#';
  const agent = await startAgent();
  const publish = (topic = TOPIC) =>
    runAgentCli(['publish', topic, '--state-dir', stateDir, '--message', 'x']);
  const refused = await publish('other/x');
  expect(refused.exitCode).toBe(1);
  expect(refused.stderr).toMatch(/^not published: this device has no right to publish on other\/x/);
  await broker.stop();
  await logger.event('agent.state', { state: 'backing-off' });
  expect(await publish()).toEqual({ exitCode: 0, stdout: '', stderr: '' });
  await agent.stop();
  const none = await publish();
  expect(none.exitCode).toBe(3);
  expect(none.stderr).toMatch(/no agent runs/);
});

test('outbox: lists what waits, for people and as JSON, and drops it', async () => {
  const { broker, logger, stateDir, startAgent } = await setUpAgent();
  await startAgent('[outbox]\nalarm_topics = ["devices/t-42/alarm/#"]\n');
  const outbox = (...args: string[]) => runAgentCli(['outbox', ...args, '--state-dir', stateDir]);
  expect(await outbox('list')).toEqual({
    exitCode: 0,
    stdout: '',
    stderr: '0 messages of 0 bytes wait\n',
  });
  await broker.stop();
  await logger.event('agent.state', { state: 'backing-off' });
  for (const topic of [TOPIC, 'devices/t-42/alarm/fire']) {
    await runAgentCli(['publish', topic, '--state-dir', stateDir, '--message', 'x']);
  }
  const { stdout, stderr } = await outbox('list');
  expect(stdout).toMatch(
    /^2 +alarm +2025-10-09T08:53:20Z +QoS 1 {2}1 B {2}devices\/t-42\/alarm\/fire\n1 +telemetry .*\n$/,
  );
  expect(stderr).toMatch(/^2 messages of \d+ bytes wait$/m);
  expect(JSON.parse((await outbox('list', '--json')).stdout)).toMatchObject({ messages: 2 });
  for (const wrong of [[], ['--all', '--sequence', '1'], ['--sequence', '0']]) {
    expect((await outbox('drop', ...wrong)).exitCode).toBe(2);
  }
  expect(await outbox('drop', '--sequence', '1')).toMatchObject({ exitCode: 0 });
  expect(await outbox('drop', '--sequence', '1')).toMatchObject({ exitCode: 1 });
  expect((await outbox('drop', '--all')).stderr).toBe('1 dropped\n');
});

test('status: of the running agent, for people and as JSON', async () => {
  const { stateDir, startAgent } = await setUpAgent();
  await startAgent();
  const text = await runAgentCli(['status', '--state-dir', stateDir]);
  expect(text.exitCode).toBe(0);
  expect(text.stdout).toMatch(/^state +online\nsince +2025-10-09T08:53:20Z$/m);
  expect(text.stdout).toMatch(/^token\.expires_at +2025-10-09T09:08:20Z$/m);
  // Values stand in one column, behind the longest name too.
  for (const line of text.stdout.trimEnd().split('\n')) expect(line).toMatch(/^[a-z_.]+ {2,}\S/);
  const json = await runAgentCli(['status', '--json', '--state-dir', stateDir]);
  expect(JSON.parse(json.stdout)).toMatchObject({ state: 'online', client_id: 't-42' });
});

test('status: what is on disk when no agent runs: exit code 3', async () => {
  const { stateDir } = await setUpAgent();
  const { exitCode, stdout, stderr } = await runAgentCli([
    'status',
    '--json',
    '--state-dir',
    stateDir,
  ]);
  expect(exitCode).toBe(3);
  expect(JSON.parse(stdout)).toMatchObject({ state: 'offline', client_id: 't-42' });
  expect(stderr).toMatch(/no agent runs/);
});

test('status: an enrollment that did not end', async () => {
  const { authority, args, stateDir } = await enrollment();
  await authority.stop();
  await runAgentCli(args());
  const { stdout } = await runAgentCli(['status', '--json', '--state-dir', stateDir]);
  expect(JSON.parse(stdout)).toMatchObject({ state: 'enrolling' });
});

test('validate: a good file; a note when state folder or CA file cannot be used; all problems of a bad one', async () => {
  const { dir } = await setUpAgent();
  const file = join(dir, 'agent.toml');
  const broker = '[broker]\nurl = "mqtt://localhost:1883"\n';
  const validate = (text: string) => {
    writeFileSync(file, text);
    return runAgentCli(['validate', '--config', file]);
  };
  const good = await validate(`state_dir = "state"\n${broker}`);
  expect(good).toMatchObject({ exitCode: 0, stderr: '' });
  expect(good.stdout).toMatch(/is valid/);
  const early = await validate(`state_dir = "nowhere"\n${broker}`);
  expect(early.exitCode).toBe(0);
  expect(early.stderr).toMatch(/^note: state folder .* does not exist/);
  for (const [content, says] of [
    [undefined, /^note: broker.ca_file .* cannot be read \(ENOENT\)\n$/],
    ['no PEM', /^note: broker.ca_file .* holds no certificate in PEM\n$/],
    [selfSigned().cert, /^$/],
  ] as const) {
    if (content !== undefined) writeFileSync(join(dir, 'ca.pem'), content);
    const withCa = await validate(`state_dir = "state"\n${broker}ca_file = "ca.pem"\n`);
    expect([withCa.exitCode, withCa.stderr]).toEqual([0, expect.stringMatching(says)]);
  }
  const bad = await validate(`log_level = "loud"\n${broker}colour = 1\n`);
  expect([bad.exitCode, bad.stdout]).toEqual([2, '']);
  for (const path of ['state_dir', 'log_level', 'broker.colour'])
    expect(bad.stderr).toContain(path);
});
