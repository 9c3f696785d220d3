/** How lists and the summary look: columns, order, CSV, and what is cut at the width of a terminal. */
import { join } from 'node:path';
import { initDataDir } from '@latchkey/authority';
import { generateKey, parseClientId, parseIssuer, systemClock } from '@latchkey/shared';
import { describe, expect, test } from 'vitest';
import { type CliOptions, runCli } from '../../helpers/cli.ts';
import { createDrivenClock } from '../../helpers/driven-clock.ts';
import { freePort, temporaryDir } from '../../helpers/processes.ts';
import { openTestAuthority } from '../../helpers/test-authority.ts';

type Run = (args: readonly string[], options?: CliOptions) => ReturnType<typeof runCli>;

/** An authority with three devices, whose order differs by every column. */
async function setup(): Promise<Run> {
  const port = await freePort();
  const dataDir = join(temporaryDir(), 'authority');
  const clock = createDrivenClock(systemClock.now());
  await initDataDir({ dataDir, issuer: parseIssuer(`http://127.0.0.1:${port}`), clock });
  const { authority, registry } = await openTestAuthority({ dataDir, clock });
  await authority.listen({ host: '127.0.0.1', port });
  const devices = [
    { id: 't-9', labels: { site: 'rio', floor: '2' }, keyCount: 1 },
    { id: 't-10', labels: { site: 'a, "quoted" one' }, keyCount: 0 },
    { id: 't-11', labels: { site: '東京タワー', floor: '10' }, keyCount: 2 },
  ];
  for (const { id, labels, keyCount } of devices) {
    const clientId = parseClientId(id);
    await registry.createClient({
      ...{ id: clientId, kind: 'device', roles: [], labels: new Map(Object.entries(labels)) },
      key: undefined,
    });
    for (let i = 0; i < keyCount; i += 1) {
      await registry.addClientKey(clientId, { key: generateKey().publicKey });
    }
  }
  await registry.setClientStatus(parseClientId('t-10'), 'suspended');
  return (args, options) => runCli(['--data-dir', dataDir, ...args], { clock, ...options });
}

const LIST = ['device', 'list'];
const linesOf = (stdout: string) => stdout.trimEnd().split('\n');

/** Columns of a terminal that a text takes; the wide characters here are those of Tokyo. */
const widthOf = (text: string) => text.length + (text.match(/[東京タワー]/g) ?? []).length;

describe('columns', () => {
  test('are shown in the order that is asked for, labels and hidden fields among them', async () => {
    const run = await setup();
    const args = ['--columns', 'label.site, version,client_id,label.no-such'];
    const { exitCode, stdout } = await run([...LIST, ...args]);
    expect(exitCode).toBe(0);
    expect(linesOf(stdout)).toEqual([
      'LABEL.SITE       VERSION  CLIENT ID  LABEL.NO-SUCH',
      'a, "quoted" one  2        t-10       -',
      '東京タワー       3        t-11       -',
      'rio              2        t-9        -',
    ]);
  });

  test.each([
    {
      args: ['--columns', 'colour'],
      says: '--columns: there is no column colour; there are client',
    },
    { args: ['--columns', 'client_id,Status'], says: 'no column Status' },
    { args: ['--columns', 'label.'], says: 'no column label.' },
    { args: ['--columns', '-created'], says: 'no column -created' },
    { args: ['--columns', ''], says: '--columns must be names' },
    { args: ['--columns', 'status,,roles'], says: '--columns must be names' },
    { args: ['--sort', 'constructor'], says: '--sort: there is no column constructor; there are' },
    { args: ['--sort', '--created'], says: 'no column -created' },
    { args: ['--sort', '-'], says: '--sort: there is no column ;' },
    { args: ['--json', '--csv'], says: 'leave out --csv' },
    { args: ['--json', '--columns', 'status'], says: 'leave out --columns' },
  ])('$args are refused before anything is asked for', async ({ args, says }) => {
    const nowhere = ['--authority', 'http://127.0.0.1:9', '--operator-key', '/nowhere'];
    const { exitCode, stdout, stderr } = await runCli([...LIST, ...args, ...nowhere]);
    expect([exitCode, stdout]).toEqual([2, '']);
    expect(stderr).toContain(says);
  });

  test('that do not exist are answered with all that do', async () => {
    const { stderr } = await runCli([...LIST, '--columns', 'x']);
    expect(stderr).toBe(
      'error: --columns: there is no column x; there are client_id, status, roles, labels, keys, ' +
        'key_created, secrets, rotation, may_mint, token_ttl, void_before, limited_to, version, ' +
        'created, label.<key>\n',
    );
    const role = await runCli(['role', 'list', '--columns', 'label.site']);
    expect(role.stderr).toContain('there are name, permissions, created\n');
  });
});

test.each([
  { sort: 'client_id', ids: ['t-9', 't-10', 't-11'] },
  { sort: '-client_id', ids: ['t-11', 't-10', 't-9'] },
  { sort: '-status,-client_id', ids: ['t-10', 't-11', 't-9'] },
  { sort: 'label.floor', ids: ['t-9', 't-11', 't-10'] },
  { sort: '-label.floor', ids: ['t-11', 't-9', 't-10'] },
  { sort: 'rotation', ids: ['t-10', 't-11', 't-9'] },
])('sorted by $sort: numbers as numbers, absent ones last', async ({ sort, ids }) => {
  const run = await setup();
  const json = JSON.parse((await run([...LIST, '--json', '--sort', sort])).stdout);
  expect(json.map((item: { client_id: string }) => item.client_id)).toEqual(ids);
  const table = await run([...LIST, '--sort', sort, '--columns', 'client_id']);
  expect(linesOf(table.stdout)).toEqual(['CLIENT ID', ...ids]);
});

describe('CSV', () => {
  test('quotes what needs it, and is never cut', async () => {
    const run = await setup();
    const columns = 'client_id,status,label.site,keys,may_mint';
    const options = { terminalWidth: 20 };
    const { stdout } = await run([...LIST, '--csv', '--columns', columns], options);
    const devices = JSON.parse((await run([...LIST, '--json'])).stdout);
    const kids = devices.map(({ keys }: { keys: { kid: string }[] }) =>
      keys.map(({ kid }) => kid).join(' '),
    );
    expect(linesOf(stdout)).toEqual([
      columns,
      `t-10,suspended,"a, ""quoted"" one",${kids[0]},`,
      `t-11,active,東京タワー,${kids[1]},`,
      `t-9,active,rio,${kids[2]},`,
    ]);
  });

  test('of nothing is its header', async () => {
    const run = await setup();
    expect(await run(['service', 'list', '--csv', '--label', 'site=nowhere'])).toEqual({
      ...{ exitCode: 0, stderr: '' },
      stdout: 'client_id,status,roles,labels,keys,created\n',
    });
  });
});

describe('a table', () => {
  test.each([{ width: 80 }, { width: 60 }, { width: 30 }, { width: 12 }])(
    'fits a terminal of $width columns',
    async ({ width }) => {
      const run = await setup();
      const { stdout } = await run(LIST, { terminalWidth: width });
      const lines = linesOf(stdout);
      expect(lines).toHaveLength(4);
      expect(Math.max(...lines.map(widthOf))).toBeLessThanOrEqual(Math.max(width, 16));
      expect(stdout).toContain('…');
    },
  );

  test('at 80 columns cuts the widest and keeps ids, states and times', async () => {
    const run = await setup();
    const { stdout } = await run(LIST, { terminalWidth: 80 });
    const shown = stdout.replaceAll(/\d{4}-\d\d-\d\dT[\d:]+Z/g, 'TIME');
    const start = shown.replaceAll(/[\w-]+… {2}TIME/g, 'KID…  TIME');
    expect(linesOf(start)).toEqual([
      'CLIENT ID  STATUS     ROLES  LABELS         KEYS           CREATED',
      't-10       suspended  -      site=a, "quo…  -              TIME',
      't-11       active     -      floor=10 sit…  KID…  TIME',
      't-9        active     -      floor=2 site…  KID…  TIME',
    ]);
  });

  test('is whole where it fits, at the very width and one less', async () => {
    const run = await setup();
    const args = [...LIST, '--columns', 'client_id,label.site'];
    const whole = await run(args);
    const width = Math.max(...linesOf(whole.stdout).map(widthOf));
    expect((await run(args, { terminalWidth: width })).stdout).toBe(whole.stdout);
    const cut = await run(args, { terminalWidth: width - 1 });
    expect(cut.stdout).toContain('a, "quoted" o…\n');
  });

  test('is never cut where stdout is no terminal, nor when it has 200 columns, and has no colour', async () => {
    const run = await setup();
    const piped = await run([...LIST, '--id-prefix', 't-9']);
    expect(piped.stdout).toMatch(/^[\w :.=-]+\n[\w :.=-]+\n$/);
    expect(await run([...LIST, '--id-prefix', 't-9'], { terminalWidth: 200 })).toEqual(piped);
  });

  test('puts several keys into one line', async () => {
    const run = await setup();
    expect(linesOf((await run(LIST)).stdout)).toHaveLength(4);
  });
});

describe('the fleet summary', () => {
  test('has its numbers and then its groups, the devices in none last', async () => {
    const run = await setup();
    const { exitCode, stdout } = await run(['fleet', 'summary', '--by', 'floor']);
    expect(exitCode).toBe(0);
    expect(linesOf(stdout)).toEqual([
      'devices                3',
      'active                 2',
      'suspended              1',
      'revoked                0',
      'without a key          1',
      'a key of 365d or more  0',
      '',
      'ROLE  DEVICES',
      '-     3',
      '',
      'FLOOR  DEVICES',
      '10     1',
      '2      1',
      '-      1',
    ]);
  });

  test('gives programs what the API answers', async () => {
    const run = await setup();
    const { stdout } = await run(['fleet', 'summary', '--key-age', '2w', '--json']);
    expect(JSON.parse(stdout)).toMatchObject({
      ...{ devices: 3, by_label: null, with_old_key: { age_seconds: 1_209_600, devices: 0 } },
    });
  });

  test('cuts long values of a label at the width of a terminal, never a number', async () => {
    const run = await setup();
    const { stdout } = await run(['fleet', 'summary', '--by', 'site'], { terminalWidth: 20 });
    expect(stdout).toContain('\na, "quoted…  1\n');
  });

  test.each([
    { args: ['--key-age', '365'.repeat(4)], exitCode: 2, says: '--key-age' },
    { args: ['--key-age', 'old'], exitCode: 2, says: '--key-age' },
    { args: ['--by', 'Site'], exitCode: 1, says: 'by key must be' },
  ])('refuses $args', async ({ args, exitCode, says }) => {
    const run = await setup();
    const refused = await run(['fleet', 'summary', ...args]);
    expect(refused).toMatchObject({ exitCode, stdout: '', stderr: expect.stringContaining(says) });
  });
});
