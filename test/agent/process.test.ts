import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { enroll } from '@latchkey/agent';
import { createHttpClient, systemClock } from '@latchkey/shared';
import { expect, onTestFinished, test } from 'vitest';
import { type AedesBroker, startAedesBroker } from '../helpers/aedes-broker.ts';
import { CLIENT_ID } from '../helpers/agent-setup.ts';
import { ROOT, temporaryDir } from '../helpers/processes.ts';
import { startTokenServer } from '../helpers/token-server.ts';

async function start(prepare: (broker: AedesBroker) => void = () => undefined) {
  const authority = await startTokenServer(systemClock);
  const broker = await startAedesBroker();
  prepare(broker);
  const dir = temporaryDir();
  const stateDir = join(dir, 'state');
  const { issuer, code } = authority;
  await enroll(
    { stateDir, issuer, clientId: CLIENT_ID, readCode: async () => code },
    { http: createHttpClient(), clock: systemClock },
  );
  const config = join(dir, 'agent.toml');
  writeFileSync(config, `state_dir = "state"\n[broker]\nurl = "${broker.url}"\n`);
  const child = spawn(process.execPath, [
    join(ROOT, 'agent/bin/latchkey-agent.js'),
    'run',
    '--config',
    config,
  ]);
  onTestFinished(() => void child.kill('SIGKILL'));
  const stderr = text(child.stderr);
  const lines: Record<string, unknown>[] = [];
  const output = createInterface(child.stdout);
  const state = (wanted: string) =>
    new Promise<void>((resolve) => {
      output.on('line', () => {
        if (lines.at(-1)?.state === wanted) resolve();
      });
    });
  output.on('line', (line) => lines.push(JSON.parse(line)));
  return { authority, broker, child, lines, stderr, state, socket: join(stateDir, 'agent.sock') };
}

test.each(['SIGTERM', 'SIGINT'] as const)(
  '%s: disconnects, removes the socket, exits with 0',
  async (name) => {
    const { authority, broker, child, lines, stderr, state, socket } = await start();
    await state('online');
    expect(existsSync(socket)).toBe(true);
    child.kill(name);
    const [exitCode] = await once(child, 'exit');
    expect([exitCode, await stderr]).toEqual([0, '']);
    expect(existsSync(socket)).toBe(false);
    expect(broker.connects.length).toBe(1);
    expect(lines.map((line) => line.state ?? line.event)).toEqual([
      'obtaining',
      'token.obtained',
      'connecting',
      'online',
      'offline',
    ]);
    expect(JSON.stringify(lines)).not.toContain(authority.issued[0]!.text);
  },
);

test('state stopped: exits with 1 and says why', async () => {
  const { child, stderr } = await start((broker) => {
    broker.returnCode = () => 2;
  });
  const [exitCode] = await once(child, 'exit');
  expect(exitCode).toBe(1);
  expect(await stderr).toMatch(/client identifier refused/);
});
