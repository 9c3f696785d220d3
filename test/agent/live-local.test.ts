import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connectAgent } from '@latchkey/agent';
import { expect, onTestFinished, test } from 'vitest';
import { startLiveStack } from '../helpers/live-stack.ts';
import { ROOT, runCommand, runProgram, startProgram } from '../helpers/processes.ts';

const API = 'https://api.example';

test('with the real authority and broker: a program publishes, obeys commands and gets a token, within its rights', async () => {
  const stack = await startLiveStack();
  const { dir, resource, latchkey } = stack;
  const right = ['--resource', resource, '--scope', 'pub:devices/{client_id}/commands/+'];
  await latchkey('permission', 'create', 'commanding', ...right);
  await latchkey('resource', 'create', API, '--kind', 'http');
  await latchkey('permission', 'create', 'orders:read', '--resource', API);
  const permissions = ['--permission', 'commanding', '--permission', 'orders:read'];
  await latchkey('role', 'create', 'more', ...permissions);
  const stateDir = await stack.enroll('t-42', '--role', 'more');
  const config = join(dir, 'agent.toml');
  writeFileSync(
    config,
    `state_dir = "${stateDir}"\nlog_level = "debug"\n[broker]\nurl = "${resource}"\n` +
      `[[socket]]\npath = "app.sock"\nsubscribe = ["devices/{client_id}/commands/#"]\n`,
  );
  const agent = startProgram('latchkey-agent', ['run', '--config', config]);
  await agent.event('agent.state', ({ state }) => state === 'online');

  const program = runCommand(process.execPath, [
    join(ROOT, 'examples/dist/device-program.js'),
    join(stateDir, 'agent.sock'),
  ]);
  await agent.event('message.published', ({ topic }) => topic === 'devices/t-42/telemetry/door');
  const send = await runProgram(
    'latchkey-agent',
    ['publish', 'devices/t-42/commands/lock', '--state-dir', stateDir, '--wait'],
    { input: 'close\nstop\n' },
  );
  expect(send).toMatchObject({ exitCode: 0, stderr: '' });
  expect(await program).toEqual({
    exitCode: 0,
    stdout:
      'waiting for commands\ndevices/t-42/commands/lock: close\ndevices/t-42/commands/lock: stop\n',
    stderr: '',
  });

  const client = connectAgent({ socketPath: join(stateDir, 'agent.sock') });
  onTestFinished(client.close);
  const { scope, accessToken } = await client.token(API);
  expect(scope).toBe('orders:read');
  await expect(client.token(API, { scope: 'orders:write' })).rejects.toThrow(/invalid_scope/);
  await expect(client.token(resource)).rejects.toMatchObject({ code: 'refused' });
  await expect(client.publish('devices/t-43/telemetry/x', '')).rejects.toThrow(/no right/);
  await expect(client.subscribe('devices/#').ready).rejects.toThrow(/no right/);
  const app = connectAgent({ socketPath: join(dir, 'app.sock') });
  onTestFinished(app.close);
  const forbidden = app.publish('devices/t-42/telemetry/x', '');
  await expect(forbidden).rejects.toThrow(/rules of this socket/);
  await app.subscribe('devices/t-42/commands/+').ready;

  await agent.stop();
  expect(agent.lines.join('\n')).not.toContain(accessToken);
  expect(stack.broker.lines.some((line) => line.includes('.refused'))).toBe(false);
});
