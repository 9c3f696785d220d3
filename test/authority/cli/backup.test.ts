/** `backup` and `restore`, beside a real authority and on damaged files. */
import {
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { dataDirPaths } from '@latchkey/authority';
import SqliteDatabase from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import { allEvents, faultOf } from '../../helpers/audit-events.ts';
import { runCli } from '../../helpers/cli.ts';
import { temporaryDir } from '../../helpers/processes.ts';
import {
  addThermostatRole,
  BROKER,
  createTestDevice,
  dumpRegistry,
  execSql,
  openTestAuthority,
} from '../../helpers/test-authority.ts';

/** An authority with one device that has a token. */
async function setup() {
  const authority = await openTestAuthority();
  await addThermostatRole(authority);
  const device = createTestDevice(authority);
  const { status } = await authority.api('POST', '/devices', {
    client_id: 't-42',
    roles: ['thermostat'],
    public_key: device.key.publicKey.jwk,
  });
  expect(status).toBe(201);
  const { dataDir, clock } = authority;
  const file = join(temporaryDir(), 'authority.backup');
  const run = (...args: readonly string[]) => runCli(args, { clock });
  return { authority, device, dataDir, clock, file, run };
}

const withoutFeedMark = (dump: string) =>
  (JSON.parse(dump) as [string, unknown][]).filter(([name]) => !name.startsWith('feed'));

describe('a backup', () => {
  test('is one private file, made beside the running authority, that a new directory is made from', async () => {
    const { authority, device, dataDir, clock, file, run } = await setup();
    const before = await authority.token(await device.assertion(), { resource: BROKER });
    const made = await run('backup', file, '--data-dir', dataDir);
    expect(made).toMatchObject({ exitCode: 0, stdout: expect.stringContaining(file) });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readdirSync(join(file, '..'))).toEqual(['authority.backup']);
    // What happens later is not in it.
    await authority.api('POST', '/devices', { client_id: 't-late' });

    const other = join(temporaryDir(), 'restored');
    expect((await run('restore', file, '--data-dir', other)).exitCode).toBe(0);
    expect(statSync(other).mode & 0o777).toBe(0o700);
    expect(statSync(dataDirPaths(other).registry).mode & 0o777).toBe(0o600);
    expect((await run('validate', '--data-dir', other)).exitCode).toBe(0);
    const restored = await openTestAuthority({ dataDir: other, clock });
    const { body } = await restored.api('GET', '/clients');
    const ids = (body as { items: { client_id: string }[] }).items.map((item) => item.client_id);
    expect(ids).toContain('t-42');
    expect(ids).not.toContain('t-late');
    // The same signing keys, and no assertion is spent twice.
    const again = await restored.token(await device.assertion(), { resource: BROKER });
    const kidOf = ({ body }: { readonly body: unknown }) => {
      const [header] = (body as { access_token: string }).access_token.split('.');
      return JSON.parse(Buffer.from(header as string, 'base64url').toString()).kid;
    };
    expect(kidOf(again)).toBe(kidOf(before));
    expect(await faultOf(restored.registry)).toBeUndefined();
    const events = await allEvents(restored.registry);
    expect(events.some(({ action }) => action === 'restore')).toBe(true);
  });

  test('refuses, once restored, an assertion that was spent before it was made', async () => {
    const { authority, device, dataDir, clock, file, run } = await setup();
    const assertion = await device.assertion();
    expect((await authority.token(assertion, { resource: BROKER })).status).toBe(200);
    await run('backup', file, '--data-dir', dataDir);
    const other = join(temporaryDir(), 'restored');
    await run('restore', file, '--data-dir', other);
    const restored = await openTestAuthority({ dataDir: other, clock });
    expect(await restored.token(assertion, { resource: BROKER })).toMatchObject({ status: 400 });
  });

  test('begins another history of the feed, and changes nothing else', async () => {
    const { authority, dataDir, file, run } = await setup();
    await run('backup', file, '--data-dir', dataDir);
    const other = join(temporaryDir(), 'restored');
    await run('restore', file, '--data-dir', other);
    expect(withoutFeedMark(dumpRegistry(other))).toEqual(withoutFeedMark(authority.dump()));
    expect(dumpRegistry(other)).not.toBe(authority.dump());
  });

  test('leaves nothing of the private keys in the restored registry', async () => {
    const { dataDir, file, run } = await setup();
    await run('backup', file, '--data-dir', dataDir);
    const { private_key: pem } = JSON.parse(
      readFileSync(dataDirPaths(dataDir).operatorKey, 'utf8'),
    ) as { private_key: string };
    // The bytes of the key, as PEM has them.
    const d = (pem.split('\n')[1] as string).slice(-40);
    expect(readFileSync(file).includes(d)).toBe(true);
    const other = join(temporaryDir(), 'restored');
    await run('restore', file, '--data-dir', other);
    for (const name of readdirSync(other).filter((name) => name.startsWith('registry'))) {
      expect(readFileSync(join(other, name)).includes(d)).toBe(false);
    }
    expect(readFileSync(dataDirPaths(other).operatorKey).includes(d)).toBe(true);
  });

  test('says what it made as JSON, and that its keys are not encrypted', async () => {
    const { dataDir, file, run } = await setup();
    const { stdout, stderr } = await run('backup', file, '--data-dir', dataDir, '--json');
    expect(JSON.parse(stdout)).toEqual({
      file,
      bytes: statSync(file).size,
      last_audit_event: expect.any(Number),
      has_plain_keys: true,
    });
    expect(stderr).toContain('not encrypted');
  });

  test('is checked without restoring it', async () => {
    const { dataDir, file, run } = await setup();
    await run('backup', file, '--data-dir', dataDir);
    const { exitCode, stdout } = await run('restore', file, '--dry-run');
    expect([exitCode, stdout]).toEqual([0, expect.stringContaining('is a whole backup of')]);
  });
});

describe('backup refuses, and leaves no file behind:', () => {
  test.each([
    {
      name: 'a key in use without its file',
      damage: (dataDir: string) => {
        const { signingKeys } = dataDirPaths(dataDir);
        for (const name of readdirSync(signingKeys)) rmSync(join(signingKeys, name));
      },
      says: 'lacks the file of a key that is in use',
    },
    {
      name: 'an audit event that was changed',
      damage: (dataDir: string) =>
        execSql(
          { dataDir },
          "DROP TRIGGER audit_event_is_never_changed; UPDATE audit_event SET actor = 'x' WHERE sequence = 2",
        ),
      says: 'audit event 2: was changed',
    },
    {
      name: 'a directory that is none of an authority',
      damage: (dataDir: string) => rmSync(dataDirPaths(dataDir).config),
      says: 'is not the data directory of an authority',
    },
  ])('$name', async ({ damage, says }) => {
    const { dataDir, file, run } = await setup();
    damage(dataDir);
    const { exitCode, stderr } = await run('backup', file, '--data-dir', dataDir);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining(says)]);
    expect(readdirSync(join(file, '..'))).toEqual([]);
  });

  test('a name that is taken', async () => {
    const { dataDir, file, run } = await setup();
    writeFileSync(file, 'mine');
    const { exitCode, stderr } = await run('backup', file, '--data-dir', dataDir);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining('exists already')]);
    expect(readFileSync(file, 'utf8')).toBe('mine');
  });
});

describe('restore refuses, and makes no directory:', () => {
  const sql = (text: string) => (file: string) => {
    const db = new SqliteDatabase(file);
    db.exec(text);
    db.close();
  };
  test.each([
    { name: 'no file', damage: (file: string) => rmSync(file), says: 'cannot be read' },
    {
      name: 'a file that is no database',
      damage: (file: string) => writeFileSync(file, 'x'.repeat(5000)),
      says: 'file is not a database',
    },
    {
      name: 'an empty file',
      damage: (file: string) => writeFileSync(file, ''),
      says: 'is not a backup',
    },
    {
      name: 'a registry that is no backup',
      damage: sql('DROP TABLE backup_file; DROP TABLE backup_info'),
      says: 'is not a backup',
    },
    {
      name: 'a backup of a newer program',
      damage: sql('UPDATE backup_info SET format = 2'),
      says: 'use a newer latchkey',
    },
    {
      name: 'a registry of a newer program',
      damage: sql('PRAGMA user_version = 99'),
      says: 'use a newer latchkey',
    },
    {
      name: 'a file in it that was changed',
      damage: sql("UPDATE backup_file SET content = content || ' ' WHERE path = 'authority.toml'"),
      says: 'is damaged: authority.toml',
    },
    {
      name: 'a file in it that would lie elsewhere',
      damage: sql(
        "UPDATE backup_file SET path = '../authority.toml' WHERE path = 'authority.toml'",
      ),
      says: 'a file of no known name',
    },
    {
      name: 'a backup without settings',
      damage: sql("DELETE FROM backup_file WHERE path = 'authority.toml'"),
      says: 'holds no authority.toml',
    },
    {
      name: 'an audit event that was changed',
      damage: sql(
        "DROP TRIGGER audit_event_is_never_changed; UPDATE audit_event SET actor = 'x' WHERE sequence = 2",
      ),
      says: 'audit event 2 was changed',
    },
    {
      name: 'a client that refers to nothing',
      damage: sql("PRAGMA foreign_keys = OFF; DELETE FROM role WHERE name = 'thermostat'"),
      says: 'refers to what it does not hold',
    },
    {
      name: 'a file that ends in the middle',
      damage: (file: string) => truncateSync(file, 4096 * 20),
      says: /is damaged|malformed/,
    },
  ])('$name', async ({ damage, says }) => {
    const { dataDir, file, run } = await setup();
    expect((await run('backup', file, '--data-dir', dataDir)).exitCode).toBe(0);
    damage(file);
    const other = join(temporaryDir(), 'restored');
    const { exitCode, stderr } = await run('restore', file, '--data-dir', other);
    expect([exitCode, stderr]).toEqual([
      2,
      typeof says === 'string' ? expect.stringContaining(says) : expect.stringMatching(says),
    ]);
    expect(existsSync(other)).toBe(false);
  });

  test('a directory that is in use, which stays as it is', async () => {
    const { authority, dataDir, file, run } = await setup();
    await run('backup', file, '--data-dir', dataDir);
    const before = authority.dump();
    const { exitCode, stderr } = await run('restore', file, '--data-dir', dataDir);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining('already')]);
    expect(authority.dump()).toBe(before);
  });
});
