/** `latchkey audit`: tail, list, export and verify against a real authority. */
import { join } from 'node:path';
import { dataDirPaths, initDataDir } from '@latchkey/authority';
import { parseIssuer, systemClock } from '@latchkey/shared';
import SqliteDatabase from 'better-sqlite3';
import { describe, expect, onTestFinished, test } from 'vitest';
import { runCli } from '../../helpers/cli.ts';
import { createDrivenClock, type DrivenClock } from '../../helpers/driven-clock.ts';
import { freePort, temporaryDir } from '../../helpers/processes.ts';
import { openTestAuthority } from '../../helpers/test-authority.ts';

interface Live {
  readonly dataDir: string;
  readonly clock: DrivenClock;
  readonly run: (...args: readonly string[]) => ReturnType<typeof runCli>;
}

async function setup(): Promise<Live> {
  const port = await freePort();
  const dataDir = join(temporaryDir(), 'authority');
  const clock = createDrivenClock(systemClock.now());
  const issuer = parseIssuer(`http://127.0.0.1:${port}`);
  await initDataDir({ dataDir, issuer, clock });
  const { authority } = await openTestAuthority({ dataDir, clock });
  await authority.listen({ host: '127.0.0.1', port });
  const run = (...args: readonly string[]) => runCli([...args, '--data-dir', dataDir], { clock });
  return { dataDir, clock, run };
}

/** Changes the file behind the back of the triggers. */
function tamper(dataDir: string, text: string): void {
  const db = new SqliteDatabase(dataDirPaths(dataDir).registry);
  onTestFinished(() => void db.close());
  db.exec(`DROP TRIGGER audit_event_is_never_changed; DROP TRIGGER audit_event_stays; ${text}`);
}

const lines = (text: string) => text.trimEnd().split('\n');

describe('list', () => {
  test('shows what happened, one line each, the oldest first, and filters', async () => {
    const { run, clock } = await setup();
    await run('device', 'create', 't-1');
    await clock.advance(3_600_000);
    await run('device', 'create', 't-1');
    await run('device', 'create', 't-2');
    const all = lines((await run('audit', 'list')).stdout);
    expect(all[0]).toMatch(/Z {2}ok {7}authority init +authority {2}http:/);
    expect(all[1]).toMatch(/authority start/);
    const created = lines((await run('audit', 'list', '--type', 'management')).stdout);
    expect(created).toHaveLength(3);
    expect(created[0]).toMatch(/ok {7}management create {2}operator {2}\/devices\/t-1 {2}127/);
    expect(created[1]).toMatch(/refused {2}management create.*client_id/);
    expect(lines((await run('audit', 'list', '--client', 't-2')).stdout)).toHaveLength(1);
    const recent = await run('audit', 'list', '--type', 'management', '--since', '30m');
    expect(lines(recent.stdout)).toHaveLength(2);
    const json = JSON.parse((await run('audit', 'list', '--client', 't-2', '--json')).stdout);
    expect(json).toEqual([expect.objectContaining({ client_id: 't-2', outcome: 'ok' })]);
  });

  test('says when there is nothing', async () => {
    const { run } = await setup();
    const outcome = await run('audit', 'list', '--client', 'nobody');
    expect(outcome).toMatchObject({ exitCode: 0, stdout: '', stderr: 'there is no such event\n' });
    expect(await run('audit', 'list', '--client', 'nobody', '--json')).toMatchObject({
      stdout: '[]\n',
    });
  });

  test.each([
    { name: 'an unknown type', args: ['--type', 'x'] },
    { name: 'an unknown outcome', args: ['--outcome', 'x'] },
    { name: 'a malformed duration', args: ['--since', 'yesterday'] },
  ])('refuses $name', async ({ args }) => {
    const { run } = await setup();
    expect((await run('audit', 'list', ...args)).exitCode).toBe(2);
  });

  test('never lets an event speak to the terminal', async () => {
    const { run, dataDir } = await setup();
    tamper(dataDir, "UPDATE audit_event SET detail = char(27) || '[31m' WHERE sequence = 1");
    const { stdout } = await run('audit', 'list');
    expect(stdout).not.toContain('\u001b');
    expect(stdout).toContain('?[31m');
  });
});

describe('tail', () => {
  test('shows as many of the newest as asked for, the oldest of them first', async () => {
    const { run } = await setup();
    for (const id of ['t-1', 't-2', 't-3']) await run('device', 'create', id);
    const two = await run('audit', 'tail', '-n', '2', '--type', 'management');
    expect(lines(two.stdout).map((line) => /t-\d/.exec(line)?.[0])).toEqual(['t-2', 't-3']);
    expect((await run('audit', 'tail', '-n', '0')).stdout).toBe('');
    expect((await run('audit', 'tail', '-n', 'many')).exitCode).toBe(2);
  });

  test('follows what comes until a signal, each event once', async () => {
    const { run, dataDir, clock } = await setup();
    await run('device', 'create', 't-1');
    const ending = new AbortController();
    let seen = '';
    let onText: () => void = () => undefined;
    const following = runCli(
      ['audit', 'tail', '--follow', '--type', 'management', '--json', '--data-dir', dataDir],
      {
        clock,
        signal: ending.signal,
        onStdout: (text) => {
          seen += text;
          onText();
        },
      },
    );
    const until = (text: string) =>
      new Promise<void>((resolve) => {
        onText = () => {
          if (seen.includes(text)) resolve();
        };
        onText();
      });
    await until('t-1');
    await clock.untilSleeping(1000);
    await run('device', 'create', 't-2');
    await clock.advance(1000);
    await until('t-2');
    await clock.untilSleeping(1000);
    await clock.advance(1000);
    await clock.untilSleeping(1000);
    ending.abort();
    expect((await following).exitCode).toBe(0);
    const targets = lines(seen).map((line) => JSON.parse(line).target);
    expect(targets).toEqual(['/devices/t-1', '/devices/t-2']);
  });
});

describe('export', () => {
  test('prints one JSON object a line and says how many', async () => {
    const { run } = await setup();
    const { stdout, stderr, exitCode } = await run('audit', 'export');
    expect(exitCode).toBe(0);
    const events = lines(stdout).map((line) => JSON.parse(line) as { sequence: number });
    expect(events.map(({ sequence }) => sequence)).toEqual([1, 2, 3]);
    expect(stderr).toBe('exported 3 events\n');
  });
});

describe('verify', () => {
  test('says that the chain is whole, and where it ends', async () => {
    const { run } = await setup();
    const { stdout, stderr, exitCode } = await run('audit', 'verify');
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^events 1 to 3 are whole\n3:[A-Za-z0-9_-]{43}\n$/);
    expect(stderr).toContain('--expect');
    const json = JSON.parse((await run('audit', 'verify', '--json')).stdout);
    expect(json).toMatchObject({ is_whole: true, first: 1 });
  });

  test.each([
    {
      name: 'changed',
      text: "UPDATE audit_event SET actor = 'somebody' WHERE sequence = 2",
      says: 'error: event 2: was changed\n',
    },
    {
      name: 'removed',
      text: 'DELETE FROM audit_event WHERE sequence = 2',
      says: 'error: event 3: event 2 is missing before it\n',
    },
  ])('names the event that was $name, and exits with 1', async ({ text, says }) => {
    const { run, dataDir } = await setup();
    await run('device', 'create', 't-1');
    tamper(dataDir, text);
    expect(await run('audit', 'verify')).toMatchObject({ exitCode: 1, stdout: '', stderr: says });
    const { stdout, exitCode } = await run('audit', 'verify', '--json');
    expect(exitCode).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ is_whole: false });
  });

  test('compares with what was noted before', async () => {
    const { run } = await setup();
    const noted = lines((await run('audit', 'verify')).stdout)[1] as string;
    expect(await run('audit', 'verify', '--expect', noted)).toMatchObject({ exitCode: 0 });
    const other = noted.replace(/.$/, (last) => (last === 'A' ? 'E' : 'A'));
    expect(await run('audit', 'verify', '--expect', other)).toMatchObject({
      exitCode: 1,
      stderr: 'error: event 3: is not the one that was noted\n',
    });
    const later = noted.replace(/^\d+/, '9999');
    expect(await run('audit', 'verify', '--expect', later)).toMatchObject({ exitCode: 1 });
    expect((await run('audit', 'verify', '--expect', 'x')).exitCode).toBe(2);
  });
});
