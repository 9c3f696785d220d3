/** `device import` and `export`: every format, refused lines that can be mended, runs that are killed. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { dataDirPaths, initDataDir } from '@latchkey/authority';
import {
  exportPrivatePem,
  formatOpenSsh,
  formatPem,
  generateKey,
  parseClientId,
  parseIssuer,
  systemClock,
} from '@latchkey/shared';
import SqliteDatabase from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import { type CliOptions, runCli } from '../../helpers/cli.ts';
import { createDrivenClock } from '../../helpers/driven-clock.ts';
import { freePort, runProgram, startProgram, temporaryDir } from '../../helpers/processes.ts';
import {
  addThermostatRole,
  openTestAuthority,
  type TestAuthority,
} from '../../helpers/test-authority.ts';

interface Live {
  readonly authority: TestAuthority;
  readonly dir: string;
  readonly dataDir: string;
  run(args: readonly string[], options?: CliOptions): ReturnType<typeof runCli>;
  /** Writes a file beside, and returns its path. */
  file(name: string, text: string): string;
}

async function setup(): Promise<Live> {
  const port = await freePort();
  const dir = temporaryDir();
  const dataDir = join(dir, 'authority');
  const clock = createDrivenClock(systemClock.now());
  await initDataDir({ dataDir, issuer: parseIssuer(`http://127.0.0.1:${port}`), clock });
  const authority = await openTestAuthority({ dataDir, clock });
  await authority.authority.listen({ host: '127.0.0.1', port });
  await addThermostatRole(authority);
  return {
    ...{ authority, dir, dataDir },
    run: (args, options) => runCli(['--data-dir', dataDir, ...args], { clock, ...options }),
    file: (name, text) => {
      const path = join(dir, name);
      writeFileSync(path, text);
      return path;
    },
  };
}

const newKey = () => generateKey().publicKey;
const clientOf = ({ authority }: Live, id: string) => authority.registry.client(parseClientId(id));

const FORMS = [
  { form: 'JWK', text: (key = newKey()) => [JSON.stringify(key.jwk), key.kid] },
  { form: 'PEM', text: (key = newKey()) => [formatPem(key), key.kid] },
  { form: 'OpenSSH', text: (key = newKey()) => [formatOpenSsh(key, 'me@here'), key.kid] },
  {
    form: 'hex',
    text: (key = newKey()) => [Buffer.from(key.jwk.x, 'base64url').toString('hex'), key.kid],
  },
  {
    form: 'base64',
    text: (key = newKey()) => [Buffer.from(key.jwk.x, 'base64url').toString('base64'), key.kid],
  },
  { form: 'base64url', text: (key = newKey()) => [key.jwk.x, key.kid] },
].map(({ form, text }) => ({ form, make: () => text() as [text: string, kid: string] }));

describe('every form of a key, in every kind of source', () => {
  const inCsv = (text: string) => `"${text.replaceAll('"', '""')}"`;

  test('CSV', async () => {
    const live = await setup();
    const keys = FORMS.map(({ make }) => make());
    const rows = keys.map(([text], i) => `t-${i},${inCsv(text)},thermostat,berlin`);
    const path = live.file('fleet.csv', `id,key,role,label.site\r\n${rows.join('\r\n')}\r\n`);
    const { exitCode, stdout, stderr } = await live.run(['device', 'import', path]);
    expect([exitCode, stdout, stderr]).toEqual([
      0,
      `${keys.length} registered, 0 there already, 0 refused\n`,
      '',
    ]);
    for (const [i, [, kid]] of keys.entries()) {
      const client = await clientOf(live, `t-${i}`);
      expect(client?.keys.map((key) => key.kid)).toEqual([kid]);
      expect(client).toMatchObject({
        roles: ['thermostat'],
        labels: new Map([['site', 'berlin']]),
      });
    }
  });

  test('JSON lines, with a JWK as an object too', async () => {
    const live = await setup();
    const keys = [...FORMS.map(({ make }) => make()), [newKey().jwk, ''] as const];
    const lines = keys.map(([public_key], i) =>
      JSON.stringify({ client_id: `t-${i}`, public_key }),
    );
    const path = live.file('fleet.jsonl', `${lines.join('\n\n')}\n`);
    const { exitCode, stdout } = await live.run(['device', 'import', path]);
    expect([exitCode, stdout]).toEqual([
      0,
      `${keys.length} registered, 0 there already, 0 refused\n`,
    ]);
  });

  test('a folder, with roles and labels for all of them', async () => {
    const live = await setup();
    const folder = join(live.dir, 'keys');
    mkdirSync(join(folder, 'older'), { recursive: true });
    const extensions = ['jwk', 'pem', 'pub', 'hex', 'b64', 'txt'];
    for (const [i, { make }] of FORMS.entries()) {
      writeFileSync(join(folder, `t.${i}.${extensions[i]}`), make()[0]);
    }
    writeFileSync(join(folder, '.hidden'), 'not a key');
    const args = ['device', 'import', folder, '--role', 'thermostat', '--label', 'site=berlin'];
    const { exitCode, stdout } = await live.run(args);
    expect([exitCode, stdout]).toEqual([0, '6 registered, 0 there already, 0 refused\n']);
    expect(await clientOf(live, 't.0')).toMatchObject({ roles: ['thermostat'] });
  });

  test('stdin, when the format is said', async () => {
    const live = await setup();
    const stdin = 'client_id\nt-1\n';
    expect(await live.run(['device', 'import', '-'], { stdin })).toMatchObject({ exitCode: 2 });
    const said = ['device', 'import', '-', '--format', 'csv', '--rejects', join(live.dir, 'no')];
    expect(await live.run(said, { stdin })).toMatchObject({ exitCode: 0 });
  });
});

describe('refused lines', () => {
  test('are exactly those in the file beside, and go in once they are mended', async () => {
    const live = await setup();
    const good = Array.from({ length: 30 }, (_, i) => `t-${i},${newKey().jwk.x},thermostat`);
    const bad = [
      'no good,,',
      `b-1,${'00'.repeat(32)},`,
      'b-2,,nobody',
      'b-3,,,more',
      'b-4',
      `b-5,"${'x'.repeat(10)}, ""quoted""",`,
    ];
    const lines = ['client_id,public_key,roles', ...good.slice(0, 10), ...bad, ...good.slice(10)];
    const path = live.file('fleet.csv', `${lines.join('\n')}\n`);
    const first = await live.run(['device', 'import', path]);
    expect(first).toMatchObject({
      exitCode: 1,
      stdout: '30 registered, 0 there already, 6 refused\n',
    });
    expect(first.stderr).toContain('line 12: client_id must be 1 to 64 characters');
    const rejects = join(live.dir, 'fleet.rejects.csv');
    const [header, ...refused] = readFileSync(rejects, 'utf8').trimEnd().split('\n');
    expect(header).toBe('reason,client_id,public_key,roles');
    expect(refused).toHaveLength(bad.length);
    for (const [i, line] of bad.entries()) {
      expect(refused[i]).toMatch(/^("[^"]{8}|\w)/);
      expect(refused[i]?.endsWith(`,${line}`), refused[i]).toBe(true);
    }
    expect(statSync(rejects).mode & 0o777).toBe(0o600);
    const mended = readFileSync(rejects, 'utf8')
      .replace('no good,,', 'b-0,,')
      .replace('00'.repeat(32), newKey().jwk.x)
      .replace(/,nobody$/m, ',thermostat')
      .replace(',,,more', ',,')
      .replace('b-4\n', 'b-4,,\n')
      .replace(/"x+, ""quoted"""/, newKey().jwk.x);
    writeFileSync(rejects, mended);
    const second = await live.run(['device', 'import', rejects]);
    expect(second).toMatchObject({
      exitCode: 0,
      stdout: '6 registered, 0 there already, 0 refused\n',
    });
    expect(existsSync(join(live.dir, 'fleet.rejects.rejects.csv'))).toBe(false);
  });

  test('in JSON lines keep what they said, also one that is not JSON', async () => {
    const live = await setup();
    const lines = ['{"client_id":"t-1","color":"red"}', '{"client_id":', '{"client_id":"t-2"}'];
    const path = live.file('fleet.jsonl', lines.join('\n'));
    const rejects = join(live.dir, 'mend.jsonl');
    const outcome = await live.run(['device', 'import', path, '--rejects', rejects, '--json']);
    expect(outcome.exitCode).toBe(1);
    expect(JSON.parse(outcome.stdout)).toEqual({
      ...{ created: 1, unchanged: 0, refused: 2, dry_run: false, rejects, not_carried: [] },
    });
    const refused = readFileSync(rejects, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(refused).toEqual([
      { reason: 'color unknown key', client_id: 't-1', color: 'red' },
      { reason: 'the line is not JSON in UTF-8', unreadable: '{"client_id":' },
    ]);
  });

  test('with a private key lose it: it goes neither to the authority nor into a file', async () => {
    const live = await setup();
    const pem = exportPrivatePem(generateKey());
    const jwk = { ...newKey().jwk, d: 'c2VjcmV0LXNjYWxhci1vZi0zMi1ieXRlcy1leGFjdGx5' };
    const folder = join(live.dir, 'keys');
    mkdirSync(folder);
    writeFileSync(join(folder, 't-1.pem'), pem);
    const csv = live.file('fleet.csv', `client_id,public_key\nt-2,"${pem}"\n`);
    const lines = [
      { client_id: 't-3', public_key: jwk },
      { client_id: 't-4', keys: [{ public_key: jwk }] },
    ];
    const jsonl = live.file('more.jsonl', lines.map((line) => JSON.stringify(line)).join('\n'));
    for (const source of [folder, csv, jsonl]) {
      const { exitCode, stdout, stderr } = await live.run(['device', 'import', source]);
      expect([exitCode, stdout.startsWith('0 registered')]).toEqual([1, true]);
      expect(stderr).toContain('holds a private key');
    }
    const texts = ['keys.rejects.jsonl', 'fleet.rejects.csv', 'more.rejects.jsonl']
      .map((name) => readFileSync(join(live.dir, name), 'utf8'))
      .join('');
    expect(texts).toContain('holds a private key');
    expect(texts).not.toContain(pem.split('\n')[1]);
    expect(texts).not.toContain(jwk.d);
    expect(live.authority.log.text()).not.toContain(jwk.d);
  });

  test('are not written over those that somebody is mending', async () => {
    const live = await setup();
    const path = live.file('fleet.csv', 'client_id\nno good\n');
    live.file('fleet.rejects.csv', 'mine');
    expect(await live.run(['device', 'import', path])).toMatchObject({ exitCode: 2 });
    expect(readFileSync(join(live.dir, 'fleet.rejects.csv'), 'utf8')).toBe('mine');
  });
});

test('--dry-run asks about every line, and changes and writes nothing', async () => {
  const live = await setup();
  const path = live.file('fleet.csv', 'client_id,roles\nt-1,thermostat\nt-2,nobody\n');
  const before = live.authority.dump();
  const { exitCode, stdout, stderr } = await live.run(['device', 'import', path, '--dry-run']);
  expect([exitCode, stdout]).toEqual([1, '1 would be registered, 0 there already, 1 refused\n']);
  expect(stderr).toBe('line 3: roles name an unknown role: nobody\n');
  expect(live.authority.dump()).toBe(before);
  expect(existsSync(join(live.dir, 'fleet.rejects.csv'))).toBe(false);
});

describe('sources that are no use as a whole', () => {
  test.each([
    { name: 'no such file', file: 'no.csv', text: undefined },
    { name: 'an unknown ending', file: 'fleet.doc', text: 'x' },
    { name: 'an empty file', file: 'fleet.csv', text: '' },
    { name: 'an unknown column', file: 'fleet.csv', text: 'client_id,colour\nt-1,red\n' },
    { name: 'a column twice', file: 'fleet.csv', text: 'client_id,id\nt-1,t-1\n' },
    { name: 'no column for the id', file: 'fleet.csv', text: 'public_key\nx\n' },
    { name: 'a quote that never ends', file: 'fleet.csv', text: 'client_id\n"t-1\nt-2\n' },
  ])('$name: exit 2, and nothing is registered', async ({ file, text }) => {
    const live = await setup();
    const path = text === undefined ? join(live.dir, file) : live.file(file, text);
    const before = live.authority.dump();
    const outcome = await live.run(['device', 'import', path]);
    expect(outcome.exitCode, outcome.stderr).toBe(2);
    expect(live.authority.dump()).toBe(before);
  });

  test('a semicolon or a tab between cells is seen in the header', async () => {
    const live = await setup();
    const semicolons = live.file('a.csv', 'client_id;labels\nt-1;"site=berlin;floor=2"\n');
    const tabs = live.file(
      'b.tsv',
      '\uFEFFclient_id\tlabels\tlabel.room\nt-2\t"{""site"":""bonn""}"\t7\n',
    );
    for (const path of [semicolons, tabs]) {
      expect(await live.run(['device', 'import', path])).toMatchObject({ exitCode: 0 });
    }
    expect((await clientOf(live, 't-1'))?.labels).toEqual(
      new Map([
        ['floor', '2'],
        ['site', 'berlin'],
      ]),
    );
    expect((await clientOf(live, 't-2'))?.labels).toEqual(
      new Map([
        ['room', '7'],
        ['site', 'bonn'],
      ]),
    );
  });
});

test('export and import again elsewhere: the same fleet', async () => {
  const [here, there] = [await setup(), await setup()];
  const [one, two] = [newKey(), newKey()];
  const labels = { site: 'Berlin, "Mitte"' };
  await here.authority.api('POST', '/devices/import', {
    lines: [
      { client_id: 't-1', public_key: one.jwk, roles: ['thermostat'], labels, may_mint: true },
      { client_id: 't-2', public_key: two.jwk, token_ttl_seconds: 90, status: 'suspended' },
      { client_id: 't-3', keys: [{ public_key: newKey().jwk, label: 'spare', expires_at: 99 }] },
      { client_id: 't-4', public_key: newKey().jwk, status: 'revoked' },
      { client_id: 't-5' },
    ],
  });
  const exported = await here.run(['device', 'export']);
  expect(exported).toMatchObject({ exitCode: 0, stderr: '' });
  expect(exported.stdout).not.toContain('operator');
  const path = there.file('fleet.jsonl', exported.stdout);
  expect(await there.run(['device', 'import', path])).toMatchObject({ exitCode: 0 });
  expect((await there.run(['device', 'export'])).stdout).toBe(exported.stdout);

  const csv = await here.run([
    'device',
    'export',
    '--format',
    'csv',
    '--label',
    `site=${labels.site}`,
  ]);
  expect(csv).toMatchObject({ exitCode: 0 });
  const again = there.file('fleet.csv', csv.stdout);
  expect((await there.run(['device', 'import', again])).stdout).toBe(
    '0 registered, 1 there already, 0 refused\n',
  );
  // What CSV cannot say is not left out in silence.
  expect(await here.run(['device', 'export', '--format', 'csv'])).toMatchObject({
    exitCode: 1,
    stderr: expect.stringContaining('the keys of 1 devices are left out'),
  });
  expect(await here.run(['device', 'export', '--format', 'xml'])).toMatchObject({ exitCode: 2 });
});

/** A digest of everything that an import writes, but for when, and in which order of changes. */
function fleetOf(dataDir: string): string {
  const db = new SqliteDatabase(dataDirPaths(dataDir).registry, { readonly: true });
  try {
    const fleet = [
      "SELECT id, kind, status, may_mint, token_ttl_seconds, tokens_not_before, version FROM client WHERE kind = 'device'",
      "SELECT kid, client, x, label, not_before, expires_at FROM client_key WHERE client <> 'operator'",
      "SELECT kid, client FROM key_owner WHERE client <> 'operator'",
      'SELECT client, key, value FROM client_label',
      "SELECT client, role FROM client_role WHERE client <> 'operator'",
      'SELECT client, 0 FROM client_change',
    ].map((sql) => db.prepare(`${sql} ORDER BY 1, 2`).all());
    return createHash('sha256').update(JSON.stringify(fleet)).digest('hex');
  } finally {
    db.close();
  }
}

test('killed three times and run again: exactly the registry of a run that was not', {
  timeout: 120_000,
}, async () => {
  const COUNT = 5000;
  const dir = temporaryDir();
  const rows = Array.from(
    { length: COUNT },
    (_, i) => `t-${i},${newKey().jwk.x},thermostat,site-${i % 7}`,
  );
  const file = join(dir, 'fleet.csv');
  writeFileSync(file, `client_id,public_key,roles,label.site\n${rows.join('\n')}\n`);

  const start = async (name: string) => {
    const dataDir = join(dir, name);
    const issuer = `http://127.0.0.1:${await freePort()}`;
    const made = await runProgram('latchkey', ['init', '--data-dir', dataDir, '--issuer', issuer]);
    expect(made.exitCode).toBe(0);
    const server = startProgram('latchkey', ['serve', '--data-dir', dataDir]);
    await server.line((line) => line.includes('listening'));
    const must = async (...args: string[]) => {
      const outcome = await runProgram('latchkey', [...args, '--data-dir', dataDir]);
      expect(outcome.exitCode, outcome.stderr).toBe(0);
    };
    await must('resource', 'create', 'mqtts://broker.example', '--kind', 'mqtt');
    const permission = [
      'permission',
      'create',
      'telemetry',
      '--resource',
      'mqtts://broker.example',
    ];
    await must(...permission, '--scope', 'pub:devices/{client_id}/#');
    await must('role', 'create', 'thermostat', '--permission', 'telemetry');
    return { dataDir, server };
  };
  const countIn = (dataDir: string): number => {
    const db = new SqliteDatabase(dataDirPaths(dataDir).registry, { readonly: true });
    const count = db.prepare("SELECT count(*) FROM client WHERE kind = 'device'").pluck().get();
    db.close();
    return count as number;
  };

  const whole = await start('whole');
  const unbroken = await runProgram('latchkey', [
    'device',
    'import',
    file,
    '--data-dir',
    whole.dataDir,
  ]);
  expect(unbroken.stdout).toBe(`${COUNT} registered, 0 there already, 0 refused\n`);

  const broken = await start('broken');
  const seen: number[] = [];
  for (let kill = 0; kill < 3; kill += 1) {
    const before = countIn(broken.dataDir);
    const run = startProgram('latchkey', ['device', 'import', file, '--data-dir', broken.dataDir]);
    // The next batches are under way when the first of this run is in.
    while (countIn(broken.dataDir) === before) await systemClock.sleep(2);
    await run.stop('SIGKILL');
    seen.push(countIn(broken.dataDir));
  }
  expect(
    seen.every((count) => count > 0 && count < COUNT),
    String(seen),
  ).toBe(true);
  const last = await runProgram('latchkey', [
    'device',
    'import',
    file,
    '--data-dir',
    broken.dataDir,
  ]);
  expect(last).toMatchObject({ exitCode: 0 });
  expect(last.stdout).toMatch(/^[1-9]\d* registered, [1-9]\d* there already, 0 refused\n$/);
  expect(fleetOf(broken.dataDir)).toBe(fleetOf(whole.dataDir));
  const verified = await runProgram('latchkey', ['audit', 'verify', '--data-dir', broken.dataDir]);
  expect(verified.exitCode).toBe(0);
});
