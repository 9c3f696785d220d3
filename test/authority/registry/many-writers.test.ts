/** Four processes with 50 writers together, on one SQLite file: nothing is lost, doubled or corrupt. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openSqliteRegistry } from '@latchkey/authority';
import { systemClock } from '@latchkey/shared';
import SqliteDatabase from 'better-sqlite3';
import { expect, onTestFinished, test } from 'vitest';
import { allEvents, faultOf } from '../../helpers/audit-events.ts';
import { ROOT, runCommand, temporaryDir } from '../../helpers/processes.ts';

const WRITERS = [13, 13, 12, 12];
const ROUNDS = 6;
const USES = 100;

interface Done {
  readonly clients: readonly string[];
  readonly spent: readonly string[];
  readonly events: readonly string[];
  readonly redeemed: readonly string[];
  readonly errors: readonly string[];
}

test('50 writers in 4 processes lose and corrupt nothing, and one of them wins each assertion', async () => {
  const path = join(temporaryDir(), 'registry.sqlite');
  writeFileSync(path, '');
  const registry = openSqliteRegistry({ path, clock: systemClock });
  onTestFinished(() => registry.close());
  await registry.createEnrollment({
    codeHash: 'shared-code',
    target: { idPattern: 'e-*' },
    roles: [],
    labels: new Map(),
    uses: USES,
    expiresAt: systemClock.now() + 600,
  });

  const script = join(ROOT, 'test/helpers/registry-writer.mjs');
  const outcomes = await Promise.all(
    WRITERS.map((writers, index) =>
      runCommand(process.execPath, [script, path, String(index), String(writers), String(ROUNDS)]),
    ),
  );
  const done = outcomes.map(({ stdout, stderr, exitCode }) => {
    expect(stderr).toBe('');
    expect(exitCode).toBe(0);
    return JSON.parse(stdout) as Done;
  });
  const all = (name: keyof Done) => done.flatMap((one) => one[name]).sort();
  expect(all('errors')).toEqual([]);
  expect(all('clients')).toHaveLength(50 * ROUNDS);

  const db = new SqliteDatabase(path, { readonly: true });
  onTestFinished(() => void db.close());
  const column = (sql: string) => db.prepare<[], string>(sql).pluck().all();
  expect(column('PRAGMA integrity_check')).toEqual(['ok']);
  expect(column('PRAGMA foreign_key_check')).toEqual([]);
  expect(column("SELECT id FROM client WHERE id LIKE 'c-%' ORDER BY id")).toEqual(all('clients'));
  expect(column("SELECT id FROM client WHERE id LIKE 'e-%' ORDER BY id")).toEqual(all('redeemed'));
  expect(all('redeemed')).toHaveLength(USES);
  expect(await registry.enrollment(1)).toMatchObject({ usesLeft: 0 });
  // Every client with its key, its label and its place in the trust feed.
  expect(column('SELECT DISTINCT client FROM client_key')).toHaveLength(50 * ROUNDS + USES);
  expect(column('SELECT client FROM client_label')).toHaveLength(50 * ROUNDS);
  expect(column('SELECT id FROM client EXCEPT SELECT client FROM client_change')).toEqual([]);

  const contested = Math.max(...WRITERS) * ROUNDS;
  expect(all('spent')).toHaveLength(contested);
  expect(new Set(all('spent')).size).toBe(contested);

  const events = await allEvents(registry);
  expect(events.map(({ jti }) => jti).sort()).toEqual(all('events'));
  expect(await faultOf(registry)).toBeUndefined();
});
