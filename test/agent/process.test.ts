import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { enroll } from '@latchkey/agent/daemon';
import { createHttpClient, systemClock } from '@latchkey/shared';
import { expect, test } from 'vitest';
import { startAedesBroker } from '../helpers/aedes-broker.ts';
import { CLIENT_ID } from '../helpers/agent-setup.ts';
import { mustRun, ROOT, runCommand, startProgram, temporaryDir } from '../helpers/processes.ts';
import { startTokenServer } from '../helpers/token-server.ts';

async function setUp(options: { readonly isWebSocket?: boolean } = {}) {
  const authority = await startTokenServer(systemClock);
  const broker = await startAedesBroker(options);
  const dir = temporaryDir();
  const stateDir = join(dir, 'state');
  const { issuer, code } = authority;
  await enroll(
    { stateDir, issuer, clientId: CLIENT_ID, readCode: async () => code },
    { http: createHttpClient(), clock: systemClock },
  );
  const config = join(dir, 'agent.toml');
  writeFileSync(config, `state_dir = "state"\n[broker]\nurl = "${broker.url}"\n`);
  const start = () => startProgram('latchkey-agent', ['run', '--config', config]);
  return { authority, broker, stateDir, start, socket: join(stateDir, 'agent.sock') };
}

const isOnline = ({ state }: Record<string, unknown>) => state === 'online';

test.each(['SIGTERM', 'SIGINT'] as const)(
  '%s: disconnects, removes the socket, exits with 0',
  async (name) => {
    const { authority, broker, start, socket } = await setUp();
    const agent = start();
    await agent.event('agent.state', isOnline);
    expect(existsSync(socket)).toBe(true);
    expect(await agent.stop(name)).toBe(0);
    expect(existsSync(socket)).toBe(false);
    expect(broker.connects.length).toBe(1);
    const lines = agent.lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.map(({ state, event }) => state ?? event)).toEqual([
      'obtaining',
      'token.obtained',
      'connecting',
      'online',
      'offline',
    ]);
    expect(agent.lines.join()).not.toContain(authority.issued[0]!.text);
  },
);

test('killed, it starts again on the socket it left, with the token it had', async () => {
  const { authority, start, socket } = await setUp();
  const first = start();
  await first.event('agent.state', isOnline);
  await first.stop('SIGKILL');
  expect(existsSync(socket)).toBe(true);
  await start().event('agent.state', isOnline);
  expect(authority.issued.length).toBe(1);
});

test('connects over a web socket, publishes, and comes back', async () => {
  const { broker, stateDir, start } = await setUp({ isWebSocket: true });
  const agent = start();
  await agent.event('agent.state', isOnline);
  const publish = () =>
    mustRun('latchkey-agent', [
      ...['publish', 'a/b', '--message', 'x', '--wait', '--state-dir', stateDir],
    ]);
  await publish();
  const before = agent.lines.length;
  broker.kick();
  while (!agent.lines.slice(before).some((line) => line.includes('"online"'))) {
    await broker.connected(2);
    await new Promise(setImmediate);
  }
  await publish();
  expect(broker.publishes.length).toBe(2);
  expect(await agent.stop()).toBe(0);
});

test('not even DEBUG=* prints the token', async () => {
  const { authority, start } = await setUp();
  process.env.DEBUG = '*';
  const agent = start();
  delete process.env.DEBUG;
  await agent.event('agent.state', isOnline);
  await agent.stop();
  expect(agent.lines.length).toBeGreaterThan(20); // the libraries did print
  const said = agent.lines.join('\n');
  const token = authority.issued[0]!.text;
  for (const form of [
    token,
    Buffer.from(token).toString('hex').replace(/../g, '$& ').trim().slice(0, 60),
  ]) {
    expect(said).not.toContain(form);
  }
});

test('state stopped: exits with 1 and says why', async () => {
  const { broker, start } = await setUp();
  broker.returnCode = () => 2;
  const agent = start();
  await once(agent.child, 'close');
  expect(agent.child.exitCode).toBe(1);
  expect(agent.lines.at(-1)).toMatch(/^the broker refused.*client identifier refused/);
});

test('a reader that goes away is no failure', async () => {
  const { stateDir } = await setUp();
  const program = join(ROOT, 'agent/bin/latchkey-agent.js');
  const line = `"$0" "$1" status --state-dir "$2" | true; exit "\${PIPESTATUS[0]}"`;
  const { exitCode, stderr } = await runCommand('bash', [
    '-c',
    line,
    process.execPath,
    program,
    stateDir,
  ]);
  expect(exitCode).toBe(3);
  expect(stderr).not.toContain('EPIPE');
});
