import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { startLiveStack } from '../helpers/live-stack.ts';
import { mustRun, runProgram, startProgram } from '../helpers/processes.ts';

const isOnline = ({ state }: Record<string, unknown>) => state === 'online';

test('with the real authority and broker: one device measures, the other acts, and none does more', async () => {
  const stack = await startLiveStack();
  const { dir, resource } = stack;
  await stack.latchkey(
    'permission',
    'create',
    'switching',
    '--resource',
    resource,
    '--scope',
    'pub:devices/ac-7/commands/power',
  );
  await stack.latchkey(
    'permission',
    'create',
    'state',
    '--resource',
    resource,
    '--scope',
    'pub:devices/{client_id}/state',
  );
  await stack.latchkey(
    'role',
    'create',
    'switch',
    '--permission',
    'switching',
    '--permission',
    'state',
  );
  const [t42, ac7] = [
    await stack.enroll('t-42', '--role', 'switch'),
    await stack.enroll('ac-7', '--role', 'switch'),
  ];
  writeFileSync(join(dir, 'sensor'), '27000');
  const config = (name: string, stateDir: string, more: string) => {
    const file = join(dir, `${name}.toml`);
    writeFileSync(
      file,
      `state_dir = "${stateDir}"\nlog_level = "debug"\n[broker]\nurl = "${resource}"\n${more}`,
    );
    return file;
  };
  const acting = startProgram('latchkey-agent', [
    'run',
    '--config',
    config(
      'ac',
      ac7,
      `[[action]]\nname = "power"\nfilter = "devices/ac-7/commands/power"\ncommand = ["tee", "received"]\ntopic = "devices/ac-7/state"\n`,
    ),
  ]);
  await acting.event('agent.state', isOnline);
  const measuring = startProgram('latchkey-agent', [
    'run',
    '--config',
    config(
      't',
      t42,
      `[[source]]\nname = "temperature"\nfile = "sensor"\nscale = 0.001\nevery_seconds = 0.2\ntopic = "devices/t-42/telemetry/temperature"\n[[source.limit]]\nabove = 26\ntopic = "devices/ac-7/commands/power"\npayload_above = "on"\npayload_below = "off"\n`,
    ),
  ]);
  await measuring.event('agent.state', isOnline);
  await acting.event('action.run', ({ exitCode }) => exitCode === 0);
  expect(readFileSync(join(dir, 'received'), 'utf8')).toBe('on');
  await acting.event('message.published', ({ topic }) => topic === 'devices/ac-7/state');

  const refused = await runProgram('latchkey-agent', [
    'publish',
    'devices/ac-7/state',
    '--message',
    'x',
    '--state-dir',
    t42,
  ]);
  expect([refused.exitCode, refused.stdout]).toEqual([1, '']);
  expect(refused.stderr).toMatch(/no right to publish/);
  await measuring.event('message.refused');

  await Promise.all([measuring.stop(), acting.stop()]);
  expect(stack.broker.lines.some((line) => line.includes('publish.refused'))).toBe(false);
});

test('an enrollment whose answer was lost is mended by the same command, though the code was for one use', async () => {
  const stack = await startLiveStack();
  const stateDir = await stack.enroll('t-42');
  /** Without `key_since`, which is when the device took the key into use. */
  const readIdentity = () => {
    const text = readFileSync(join(stateDir, 'identity.json'), 'utf8');
    const { key_since: _since, ...identity } = JSON.parse(text) as Record<string, unknown>;
    return identity;
  };
  const identity = readIdentity();
  rmSync(join(stateDir, 'identity.json')); // as if the power had failed before it was written
  await mustRun('latchkey-agent', [
    ...['enroll', '--authority', stack.issuer, '--client-id', 't-42'],
    ...['--code-file', join(stack.dir, 't-42.code'), '--state-dir', stateDir],
  ]);
  expect(readIdentity()).toEqual(identity);
});

test('a token for another broker is refused there, and the agent says what to check', async () => {
  const stack = await startLiveStack();
  await stack.latchkey('resource', 'create', 'mqtts://other.example', '--kind', 'mqtt');
  await stack.latchkey(
    'permission',
    'create',
    'there',
    '--resource',
    'mqtts://other.example',
    '--scope',
    'pub:#',
  );
  await stack.latchkey('role', 'create', 'elsewhere', '--permission', 'there');
  const stateDir = await stack.enroll('t-42', '--role', 'elsewhere');
  const file = join(stack.dir, 'agent.toml');
  writeFileSync(
    file,
    `state_dir = "${stateDir}"\n[broker]\nurl = "${stack.resource}"\nresource = "mqtts://other.example"\n`,
  );
  const agent = startProgram('latchkey-agent', ['run', '--config', file]);
  const { detail } = await agent.event('agent.state', ({ state }) => state === 'backing-off');
  expect(detail).toMatch(/not authorized; check broker.resource/);
  expect(await agent.stop()).toBe(0);
  expect(existsSync(join(stateDir, 'agent.sock'))).toBe(false);
});

test('with the authority gone, a device that may mint comes online and one that may not does not', async () => {
  const stack = await startLiveStack({ hasFeed: true });
  await stack.broker.event('feed.whole');
  const stateDirs = new Map([
    ['t-42', await stack.enroll('t-42')],
    ['t-43', await stack.enroll('t-43')],
  ]);
  await stack.latchkey('device', 'update', 't-42', '--may-mint');
  const agents = new Map<string, ReturnType<typeof startProgram>>();
  for (const stateDir of stateDirs.values()) {
    await stack.token(stateDir, '--resource', stack.resource); // the last that the authority issues
  }
  await stack.authority.stop('SIGKILL');
  for (const [id, stateDir] of stateDirs) {
    const cache = join(stateDir, 'tokens.json');
    const text = readFileSync(cache, 'utf8');
    // A day has gone by.
    writeFileSync(
      cache,
      text.replace(/"(issued|expires)_at":(\d+)/g, (_, name, at) => `"${name}_at":${at - 86_400}`),
    );
    const file = join(stack.dir, `${id}.toml`);
    writeFileSync(
      file,
      `state_dir = "${stateDir}"\nlog_level = "debug"\n[broker]\nurl = "${stack.resource}"\n`,
    );
    agents.set(id, startProgram('latchkey-agent', ['run', '--config', file]));
  }
  await agents.get('t-42')?.event('agent.state', isOnline);
  await mustRun('latchkey-agent', [
    ...['publish', 'devices/t-42/telemetry/x', '--message', 'x', '--wait'],
    ...['--state-dir', stateDirs.get('t-42') as string],
  ]);
  const waiting = await agents
    .get('t-43')
    ?.event('agent.state', ({ state }) => state === 'backing-off');
  expect(waiting?.detail).toMatch(/cannot reach/);
  expect(agents.get('t-43')?.lines.some((line) => line.includes('"connecting"'))).toBe(false);
});
