import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { enroll, openIdentity } from '@latchkey/agent/daemon';
import {
  createHttpClient,
  formatOpenSshFingerprint,
  parseClientId,
  parsePublicKey,
  systemClock,
} from '@latchkey/shared';
import { expect, test } from 'vitest';
import { runAgentCli } from '../helpers/agent-cli.ts';
import { temporaryDir } from '../helpers/processes.ts';
import { startSshAgent } from '../helpers/ssh-agent-process.ts';
import { startTokenServer } from '../helpers/token-server.ts';

function setUp(sshAgentSocket?: string) {
  const stateDir = join(temporaryDir(), 'state');
  const key = (...args: string[]) =>
    runAgentCli(['key', ...args, '--state-dir', stateDir], { change: { sshAgentSocket } });
  return { stateDir, file: join(stateDir, 'device-key.pem'), key };
}

test('create: a private key of mode 0600 in a folder of mode 0700, its public half on stdout', async () => {
  const { stateDir, file, key } = setUp();
  const { exitCode, stdout, stderr } = await key('create');
  expect(exitCode).toBe(0);
  const { kid } = parsePublicKey(stdout);
  expect(stderr).toContain(kid);
  expect(stderr).toContain('latchkey device create');
  expect([statSync(stateDir).mode & 0o777, statSync(file).mode & 0o777]).toEqual([0o700, 0o600]);
  const pem = readFileSync(file, 'utf8');
  expect(pem).toContain('PRIVATE KEY');
  for (const line of pem.split('\n').slice(1, 2)) expect(stdout + stderr).not.toContain(line);
});

test('create refuses where there is a key, and leaves it as it is', async () => {
  const { file, key } = setUp();
  await key('create');
  const before = readFileSync(file, 'utf8');
  const again = await key('create');
  expect([again.exitCode, again.stdout]).toEqual([2, '']);
  expect(again.stderr).toMatch(/there is a key already: .*key rotate/);
  expect(readFileSync(file, 'utf8')).toBe(before);
});

test('of two that create at once, one makes the key and the other is refused', async () => {
  const { key } = setUp();
  const outcomes = await Promise.all([key('create'), key('create'), key('create')]);
  expect(outcomes.map(({ exitCode }) => exitCode).sort()).toEqual([0, 2, 2]);
  const made = outcomes.find(({ exitCode }) => exitCode === 0)!;
  expect((await key('show')).stdout).toBe(made.stdout);
});

test('create refuses a state folder that is open to others', async () => {
  const { stateDir, file, key } = setUp();
  mkdirSync(stateDir, { mode: 0o755 });
  const { exitCode, stderr } = await key('create');
  expect(exitCode).toBe(2);
  expect(stderr).toContain(`chmod 700 ${stateDir}`);
  expect(existsSync(file)).toBe(false);
});

test('show: every form is the same key, and what an operator registers', async () => {
  const { key } = setUp();
  const { stdout: made } = await key('create');
  const { kid } = parsePublicKey(made);
  for (const format of ['jwk', 'pem', 'openssh']) {
    const { exitCode, stdout } = await key('show', '--format', format);
    expect(exitCode).toBe(0);
    expect(parsePublicKey(stdout).kid).toBe(kid);
  }
  expect((await key('show', '--format', 'fingerprint')).stdout).toBe(`${kid}\n`);
  expect((await key('show')).stdout).toBe(made);
});

test('show openssh: ssh-keygen reads it, and its fingerprint stands beside', async () => {
  const { key } = setUp();
  await key('create');
  const { stdout, stderr } = await key('show', '--format', 'openssh');
  const read = execFileSync('ssh-keygen', ['-l', '-f', '-'], { input: stdout }).toString();
  expect(read.split(' ')[1]).toBe(stderr.trim());
});

test.each([
  { name: 'no key', prepare: () => undefined, says: /key create/ },
  {
    name: 'an open key file',
    prepare: ({ file }: { file: string }) => chmodSync(file, 0o644),
    says: /chmod 600/,
  },
  {
    name: 'an open state folder',
    prepare: ({ stateDir }: { stateDir: string }) => chmodSync(stateDir, 0o777),
    says: /chmod 700/,
  },
])('show refuses $name, with the command that mends it', async ({ name, prepare, says }) => {
  const set = setUp();
  if (name === 'no key') mkdirSync(set.stateDir, { mode: 0o700 });
  else await set.key('create');
  prepare(set);
  const { exitCode, stdout, stderr } = await set.key('show');
  expect([exitCode, stdout]).toEqual([2, '']);
  expect(stderr).toMatch(says);
});

test('a form that is not known is refused', async () => {
  const { key } = setUp();
  expect((await key('show', '--format', 'der')).exitCode).toBe(2);
});

test('create --ssh-agent: the file holds the public half, and ssh-agent signs what enrolls', async () => {
  const agent = await startSshAgent();
  agent.addKey('thermostat');
  const { stateDir, file, key } = setUp(agent.socketPath);
  const { exitCode, stdout, stderr } = await key('create', '--ssh-agent');
  expect([exitCode, stderr.includes('held by ssh-agent')]).toEqual([0, true]);
  expect(readFileSync(file, 'utf8')).toMatch(/^-----BEGIN PUBLIC KEY/);

  const authority = await startTokenServer(systemClock);
  const { issuer, code } = authority;
  const clientId = parseClientId('t-42');
  const { identity } = await enroll(
    { stateDir, issuer, clientId, readCode: async () => code },
    { http: createHttpClient(), clock: systemClock, sshAgentSocket: agent.socketPath },
  );
  expect(identity.kid).toBe(parsePublicKey(stdout).kid);
  await expect(openIdentity(stateDir)).rejects.toThrow(/SSH_AUTH_SOCK/);

  const token = await runAgentCli(['token', '--state-dir', stateDir], {
    change: { sshAgentSocket: agent.socketPath },
  });
  expect(token).toMatchObject({ exitCode: 0, stdout: `${authority.issued[0]!.text}\n` });
  await agent.kill();
  const gone = await runAgentCli(['token', '--state-dir', stateDir, '--scope', 'x'], {
    change: { sshAgentSocket: agent.socketPath },
  });
  expect(gone.exitCode).toBe(3);
  expect(gone.stderr).toMatch(/ssh-agent .* is it running/);
});

test('create --ssh-agent KEY: by either fingerprint or by the comment; not by guessing', async () => {
  const agent = await startSshAgent();
  const first = parsePublicKey(readFileSync(`${agent.addKey('first')}.pub`, 'utf8'));
  const second = parsePublicKey(readFileSync(`${agent.addKey('second')}.pub`, 'utf8'));
  const create = (...args: string[]) =>
    setUp(agent.socketPath).key('create', '--format', 'fingerprint', '--ssh-agent', ...args);
  expect((await create(formatOpenSshFingerprint(first))).stdout).toBe(`${first.kid}\n`);
  expect((await create(second.kid)).stdout).toBe(`${second.kid}\n`);
  expect((await create('second')).stdout).toBe(`${second.kid}\n`);
  for (const args of [[], ['third'], ['sec']]) {
    const { exitCode, stderr } = await create(...args);
    expect(exitCode).toBe(2);
    for (const key of [first, second]) expect(stderr).toContain(formatOpenSshFingerprint(key));
  }
});

test('create --ssh-agent without an agent, or with an empty one: exit code 2', async () => {
  const none = await setUp().key('create', '--ssh-agent');
  expect(none.exitCode).toBe(2);
  expect(none.stderr).toMatch(/SSH_AUTH_SOCK is not set/);
  const agent = await startSshAgent();
  const empty = await setUp(agent.socketPath).key('create', '--ssh-agent');
  expect(empty.exitCode).toBe(2);
  expect(empty.stderr).toMatch(/ssh-add/);
});
