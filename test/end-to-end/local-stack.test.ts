/** `npm start`: the whole system, started as a newcomer starts it. */

import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  freePort,
  mustRun,
  runCommand,
  runProgram,
  startProgram,
  temporaryDir,
} from '../helpers/processes.ts';

async function options(dataDir: string): Promise<readonly string[]> {
  const [authority, broker] = [await freePort(), await freePort()];
  return ['--data-dir', dataDir, '--authority-port', `${authority}`, '--broker-port', `${broker}`];
}

const identities = (dataDir: string) =>
  ['thermostat', 'air-conditioner'].map((device) =>
    readFileSync(join(dataDir, device, 'identity.json'), 'utf8'),
  );

const jwksOf = async (args: readonly string[]) =>
  (await fetch(`http://localhost:${args[3]}/jwks`)).json() as Promise<unknown>;

/** The processes of the stack that still run, by what they were started with. */
async function survivors(dataDir: string): Promise<string> {
  return (await runCommand('pgrep', ['-af', dataDir])).stdout;
}

test('--for runs the stack, messages flow, the refusal is refused, and it resumes with the same keys', async () => {
  const dataDir = temporaryDir();
  const args = await options(dataDir);

  const first = await runProgram('local-stack', [...args, '--for', '8', '--simulate']);
  expect(first).toMatchObject({ exitCode: 0, stderr: '' });
  expect(first.stdout).toMatch(
    /allowed thermostat publish .* by pub:devices\/thermostat\/telemetry\/#/,
  );
  expect(first.stdout).toMatch(/REFUSED air-conditioner publish devices\/thermostat\/telemetry/);
  expect(first.stdout).toContain('messages flowed and the refusal was refused');
  const before = identities(dataDir);

  const second = startProgram('local-stack', [...args, '--simulate']);
  await second.line((line) => line.startsWith('Next, in another terminal'));
  expect(identities(dataDir)).toEqual(before);
  // The active key, and the next one.
  expect(await jwksOf(args)).toMatchObject({ keys: [{ kty: 'OKP' }, { kty: 'OKP' }] });
  expect(await second.stop('SIGINT')).toBe(0);
  expect(await survivors(dataDir)).toBe('');
});

test('the three commands it suggests work', async () => {
  const dataDir = temporaryDir();
  const stack = startProgram('local-stack', await options(dataDir));
  await stack.line((line) => line.startsWith('Ctrl-C ends everything'));
  const commands = stack.lines
    .filter((line) => line.startsWith('  npx '))
    .map((line) => line.trim().split(' '));
  expect(commands).toHaveLength(3);
  for (const [, program, ...args] of commands) {
    await mustRun(program as 'latchkey' | 'latchkey-agent', args);
  }
});

test.each([
  { name: 'the authority', at: 3, option: '--authority-port' },
  { name: 'the broker', at: 5, option: '--broker-port' },
])('a taken port of $name names the option', async ({ at, option }) => {
  const args = await options(temporaryDir());
  const squatter = createServer().listen(Number(args[at]), '127.0.0.1');
  try {
    const outcome = await runProgram('local-stack', args);
    expect(outcome.exitCode).toBe(2);
    expect(outcome.stderr).toContain(`port ${args[at]} is taken; choose another with ${option}`);
  } finally {
    squatter.close();
  }
});

test('a data directory made for other ports is refused, and nothing in it changes', async () => {
  const dataDir = temporaryDir();
  const args = await options(dataDir);
  expect(await runProgram('local-stack', [...args, '--for', '8', '--simulate'])).toMatchObject({
    exitCode: 0,
  });
  const before = identities(dataDir);
  const outcome = await runProgram('local-stack', [...(await options(dataDir)), '--for', '8']);
  expect(outcome.exitCode).toBe(2);
  expect(outcome.stderr).toContain('was made for other ports');
  expect(identities(dataDir)).toEqual(before);
});
