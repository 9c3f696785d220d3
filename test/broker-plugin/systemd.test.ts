/** The systemd unit of `latchkey-broker` fits the program and its example configuration. */
import { readFileSync } from 'node:fs';
import { PassThrough } from 'node:stream';
import { systemClock } from '@latchkey/shared';
import { expect, test } from 'vitest';
import { runProgram } from '../../broker-plugin/src/cli/program.ts';
import { isPrivateMode } from '../../broker-plugin/src/private-mode.ts';

const read = (path: string) =>
  readFileSync(new URL(`../../broker-plugin/${path}`, import.meta.url), 'utf8');
const lines = read('systemd/latchkey-broker.service')
  .split('\n')
  .filter((line) => /^[A-Z][A-Za-z]*=/.test(line))
  .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)] as const);
const all = (name: string) => lines.filter(([one]) => one === name).map(([, value]) => value);
const example = read('broker.example.toml');

async function help(command: string): Promise<string> {
  const stdout = new PassThrough();
  const io = { stdout, stderr: stdout, clock: systemClock, signal: AbortSignal.abort() };
  expect(await runProgram([command, '--help'], io)).toBe(0);
  return String(stdout.read());
}

test.each([...all('ExecStart'), ...all('ExecStartPre')])(
  '%s is a command of the program',
  async (value) => {
    const [path, command, ...options] = value.split(' ');
    expect(path).toBe('/usr/bin/latchkey-broker');
    const text = await help(command as string);
    for (const option of options.filter((one) => one.startsWith('-')))
      expect(text).toContain(option);
    expect(options.at(-1)).toBe('/etc/latchkey/broker.toml');
  },
);

test('what the broker writes by the example is in the one directory that it may write', () => {
  expect(all('StateDirectory')).toEqual(['latchkey-broker']);
  expect(all('StateDirectoryMode')).toEqual(['0700']);
  expect(all('ReadWritePaths')).toEqual([]);
  const written = [...example.matchAll(/(?:state_file|directory) = "([^"]+)"/g)].map(
    ([, path]) => path as string,
  );
  expect(written.length).toBeGreaterThanOrEqual(2);
  for (const path of written) expect(path).toMatch(/^\/var\/lib\/latchkey-broker\//);
});

test('it is given longer to stop than it drains', () => {
  const [drain] = /drain_seconds = (\d+)/.exec(example)?.slice(1) ?? [];
  expect(Number(all('TimeoutStopSec')[0])).toBeGreaterThanOrEqual(2 * Number(drain));
});

test.each([
  ['NoNewPrivileges', 'yes'],
  ['CapabilityBoundingSet', ''],
  ['ProtectSystem', 'strict'],
  ['ProtectHome', 'yes'],
  ['PrivateTmp', 'yes'],
  ['PrivateDevices', 'yes'],
  ['RestrictNamespaces', 'yes'],
  ['UMask', '0077'],
])('%s=%s', (name, value) => {
  expect(all(name)).toEqual([value]);
});

test('it runs as a user of its own, with the system calls of a service', () => {
  expect(all('User')).toEqual(['latchkey-broker']);
  expect(all('SystemCallFilter')[0]).toBe('@system-service');
  expect(all('MemoryDenyWriteExecute')).toEqual([]);
});

test.each([
  { path: '/etc/latchkey/k', mode: 0o100600, isPrivate: true },
  { path: '/etc/latchkey/k', mode: 0o100400, isPrivate: true },
  { path: '/etc/latchkey/k', mode: 0o100440, isPrivate: false },
  { path: '/run/credentials/x.service/k', mode: 0o100440, isPrivate: true },
  { path: '/run/credentials/x.service/k', mode: 0o100460, isPrivate: false },
  { path: '/run/credentials/x.service/k', mode: 0o100444, isPrivate: false },
  { path: '/run/credentials/../../etc/k', mode: 0o100440, isPrivate: false },
  { path: '/run/credentials-of-mine/k', mode: 0o100440, isPrivate: false },
])('a secret at $path with mode $mode is private: $isPrivate', ({ path, mode, isPrivate }) => {
  expect(isPrivateMode(path, mode)).toBe(isPrivate);
});
