/** Commands that make an operator and renew the feed, against a real authority. */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { initDataDir } from '@latchkey/authority';
import { parseIssuer, systemClock } from '@latchkey/shared';
import { describe, expect, test } from 'vitest';
import { allEvents, faultOf } from '../../helpers/audit-events.ts';
import { runCli } from '../../helpers/cli.ts';
import { createDrivenClock } from '../../helpers/driven-clock.ts';
import { freePort, temporaryDir } from '../../helpers/processes.ts';
import { openTestAuthority } from '../../helpers/test-authority.ts';

async function setup() {
  const port = await freePort();
  const dataDir = join(temporaryDir(), 'authority');
  const issuer = parseIssuer(`http://127.0.0.1:${port}`);
  const clock = createDrivenClock(systemClock.now());
  await initDataDir({ dataDir, issuer, clock });
  const authority = await openTestAuthority({ dataDir, clock });
  await authority.authority.listen({ host: '127.0.0.1', port });
  const run = (...args: readonly string[]) => runCli(['--data-dir', dataDir, ...args], { clock });
  const runAs = (file: string, ...args: readonly string[]) =>
    runCli(['--authority', issuer, '--operator-key', file, ...args], { clock });
  return { authority, run, runAs, file: join(temporaryDir(), 'key.json') };
}

describe('operator create', () => {
  test('writes a key file that only its owner reads, and with which everything can be done', async () => {
    const { run, runAs, file } = await setup();
    const { exitCode, stdout, stderr } = await run(
      'operator',
      'create',
      'alice',
      '--key-file',
      file,
    );
    expect([exitCode, stdout]).toEqual([0, expect.stringContaining('alice')]);
    expect(stderr).toContain(`--operator-key ${file}`);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect((await runAs(file, 'service', 'create', 'billing')).exitCode).toBe(0);
    expect((await runAs(file, 'service', 'show', 'alice')).stdout).toContain('operator');
  });

  test('limited to a label, it reaches only clients with it', async () => {
    const { run, runAs, file } = await setup();
    for (const site of ['berlin', 'paris']) {
      await run('device', 'create', `t-${site}`, '--label', `site=${site}`);
    }
    const limit = ['--limit-to-label', 'site=berlin'];
    expect((await run('operator', 'create', 'b', '--key-file', file, ...limit)).exitCode).toBe(0);
    const { stdout } = await runAs(file, 'device', 'list');
    expect(stdout).toContain('t-berlin');
    expect(stdout).not.toContain('t-paris');
    expect((await runAs(file, 'role', 'list')).exitCode).toBe(1);
  });

  test.each([
    { name: 'an id that is taken', id: 'operator', more: [], exitCode: 1 },
    { name: 'a role that nobody made', id: 'eve', more: ['--role', 'none'], exitCode: 1 },
    { name: 'an id that is none', id: 'a b', more: [], exitCode: 2 },
    { name: 'a label that is none', id: 'eve', more: ['--limit-to-label', 'site'], exitCode: 2 },
  ])('leaves no key file for $name', async ({ id, more, exitCode }) => {
    const { run, file } = await setup();
    const outcome = await run('operator', 'create', id, '--key-file', file, ...more);
    expect(outcome.exitCode).toBe(exitCode);
    expect(existsSync(file)).toBe(false);
  });

  test('overwrites no file, and makes no client then', async () => {
    const { run, file } = await setup();
    await run('operator', 'create', 'alice', '--key-file', file);
    const before = statSync(file).mtimeMs;
    const { exitCode, stderr } = await run('operator', 'create', 'bob', '--key-file', file);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining('exists')]);
    expect(statSync(file).mtimeMs).toBe(before);
    expect((await run('service', 'show', 'bob')).exitCode).toBe(1);
  });
});

test('feed renew begins another history beside a running authority, and the audit log says so', async () => {
  const { authority, run } = await setup();
  const { registry } = authority;
  const before = await registry.feedMark();
  const { exitCode, stderr } = await run('feed', 'renew', '--yes');
  expect([exitCode, stderr]).toEqual([0, expect.stringContaining('fresh snapshot')]);
  const after = await registry.feedMark();
  expect(after.sequence).toBe(before.sequence);
  expect(after.feedId).not.toBe(before.feedId);
  const events = await allEvents(registry);
  const { type, action, target } = events.at(-1)!;
  expect({ type, action, target }).toEqual({ type: 'authority', action: 'renew', target: 'feed' });
  expect(await faultOf(registry)).toBeUndefined();
});
