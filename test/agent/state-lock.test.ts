import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { lockStateDir } from '../../agent/src/state-lock.ts';
import { enrollDevice } from '../helpers/enrolled-device.ts';
import { runProgram, startProgram, temporaryDir } from '../helpers/processes.ts';

const mutualExclusion = /^another agent runs on \S+ \(process (\d+)\); stop it first$/;

test('a second one in the same process is refused until the first releases it', () => {
  const dir = temporaryDir();
  const first = lockStateDir(dir);
  // Twice: the refusal must not end the lock that the process has.
  for (let i = 0; i < 2; i += 1) expect(() => lockStateDir(dir)).toThrow(mutualExclusion);
  first.release();
  lockStateDir(dir).release();
});

test('the file is private, and nothing is written to it', () => {
  const dir = temporaryDir();
  const lock = lockStateDir(dir);
  const info = statSync(join(dir, 'agent.lock'));
  expect([info.mode & 0o777, info.size]).toEqual([0o600, 0]);
  expect(existsSync(join(dir, 'agent.lock-journal'))).toBe(false);
  lock.release();
});

test('two folders do not lock each other', () => {
  const [one, other] = [lockStateDir(temporaryDir()), lockStateDir(temporaryDir())];
  one.release();
  other.release();
});

test('a folder that cannot be written is not taken for a running agent', () => {
  const dir = temporaryDir();
  mkdirSync(join(dir, 'agent.lock'));
  expect(() => lockStateDir(dir)).toThrow(/unable to open database file/);
});

test('SIGKILL releases it; until then the other process is named', async () => {
  const dir = temporaryDir();
  const module = new URL('../../agent/dist/state-lock.js', import.meta.url).href;
  const script = `const { lockStateDir } = await import('${module}'); lockStateDir('${dir}'); console.log('held'); setInterval(() => 0, 1e6);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'pipe' });
  await once(child.stdout, 'data');
  expect(() => lockStateDir(dir)).toThrow(`(process ${child.pid})`);
  child.kill('SIGKILL');
  await once(child, 'close');
  lockStateDir(dir).release();
});

test('the program refuses to run twice with exit code 2, and the first one goes on', async () => {
  const { stateDir, config } = await enrollDevice();
  writeFileSync(config, 'state_dir = "state"\n[broker]\nurl = "mqtt://127.0.0.1:1"\n');
  const first = startProgram('latchkey-agent', ['run', '--config', config]);
  await first.event('agent.state', ({ state }) => state === 'backing-off');
  const before = readFileSync(join(stateDir, 'identity.json'), 'utf8');
  const second = await runProgram('latchkey-agent', ['run', '--config', config]);
  expect(second).toMatchObject({ exitCode: 2, stdout: '' });
  expect(second.stderr).toBe(
    `latchkey-agent: another agent runs on ${stateDir} (process ${first.child.pid}); stop it first\n`,
  );
  expect(readFileSync(join(stateDir, 'identity.json'), 'utf8')).toBe(before);
  const status = await runProgram('latchkey-agent', ['status', '--state-dir', stateDir]);
  expect(status.exitCode).toBe(0);
  expect(await first.stop()).toBe(0);
});
