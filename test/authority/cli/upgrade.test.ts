/** `upgrade`: a registry of an older program is kept as it was, and migrated once. */
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { copyDatabase, dataDirPaths, initDataDir, MIGRATIONS } from '@latchkey/authority';
import { parseIssuer } from '@latchkey/shared';
import SqliteDatabase from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import { runCli } from '../../helpers/cli.ts';
import { createDrivenClock } from '../../helpers/driven-clock.ts';
import { temporaryDir } from '../../helpers/processes.ts';

describe('upgrade', () => {
  /** A data directory whose registry is of the program before this one. */
  async function oldDirectory() {
    const dataDir = join(temporaryDir(), 'authority');
    const clock = createDrivenClock();
    await initDataDir({ dataDir, issuer: parseIssuer('https://id.example'), clock });
    const { registry } = dataDirPaths(dataDir);
    rmSync(registry);
    const db = new SqliteDatabase(registry);
    const version = MIGRATIONS.length - 1;
    for (const migration of MIGRATIONS.slice(0, version)) db.exec(migration);
    db.exec(
      "INSERT INTO client (id, kind, status, created_at) VALUES ('t-1', 'device', 'active', 1)",
    );
    db.pragma(`user_version = ${version}`);
    db.close();
    return {
      dataDir,
      registry,
      version,
      run: (...args: readonly string[]) => runCli(args, { clock }),
    };
  }

  test('keeps the registry as it was, and brings it to the newest version once', async () => {
    const { dataDir, registry, version, run } = await oldDirectory();
    const first = await run('upgrade', '--data-dir', dataDir);
    const newest = MIGRATIONS.length;
    expect(first).toMatchObject({
      exitCode: 0,
      stdout: `upgraded ${registry} from version ${version} to ${newest}\n`,
      stderr: expect.stringContaining(`${registry}.version-${version}`),
    });
    const versionOf = (path: string) => {
      const db = new SqliteDatabase(path, { readonly: true });
      const found = [
        db.pragma('user_version', { simple: true }),
        db.prepare('SELECT id FROM client').pluck().all(),
      ];
      db.close();
      return found;
    };
    const copy = `${registry}.version-${version}`;
    expect(versionOf(registry)).toEqual([newest, ['t-1']]);
    expect(versionOf(copy)).toEqual([version, ['t-1']]);
    expect(statSync(copy).mode & 0o777).toBe(0o600);
    const second = await run('upgrade', '--data-dir', dataDir);
    expect(second).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('is up to date') });
  });

  test('a copy that was not finished is not taken for one', async () => {
    const { registry } = await oldDirectory();
    const db = new SqliteDatabase(registry);
    const path = `${registry}.copy`;
    const names = () => readdirSync(join(registry, '..')).filter((name) => name.includes('copy'));
    const during: string[][] = [];
    const watched = {
      prepare: (sql: string) => ({
        run: (to: string) => {
          db.prepare(sql).run(to);
          during.push(names());
          throw new Error('killed');
        },
      }),
    } as never;
    expect(() => copyDatabase(watched, path)).toThrow('killed');
    expect(during).toEqual([[expect.stringMatching(/\.copy\.[0-9a-f]{12}\.tmp$/)]]);
    expect(names()).toEqual([]);
    copyDatabase(db, path);
    db.close();
    expect(names()).toEqual(['registry.sqlite.copy']);
  });

  test.each([
    {
      name: 'a registry of a newer program',
      damage: (registry: string) => {
        const db = new SqliteDatabase(registry);
        db.pragma('user_version = 99');
        db.close();
      },
      says: 'use a newer latchkey',
    },
    {
      name: 'a registry that is none',
      damage: (registry: string) => writeFileSync(registry, 'x'.repeat(5000)),
      says: 'file is not a database',
    },
  ])('refuses $name', async ({ damage, says }) => {
    const { dataDir, registry, run } = await oldDirectory();
    damage(registry);
    const before = readFileSync(registry);
    const { exitCode, stderr } = await run('upgrade', '--data-dir', dataDir);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining(says)]);
    expect(readFileSync(registry)).toEqual(before);
  });
});
