/** The SQLite registry keeps the contract, and says when its storage fails. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openSqliteRegistry } from '@latchkey/authority';
import { parseClientId } from '@latchkey/shared';
import SqliteDatabase from 'better-sqlite3';
import { expect, onTestFinished, test } from 'vitest';
import { createDrivenClock, type DrivenClock } from '../../helpers/driven-clock.ts';
import { describeFeedStore } from '../../helpers/feed-contract.ts';
import { describeLifecycle } from '../../helpers/lifecycle-contract.ts';
import { temporaryDir } from '../../helpers/processes.ts';
import { describeRegistry } from '../../helpers/registry-contract.ts';

function newRegistry(clock: DrivenClock) {
  const path = join(temporaryDir(), 'registry.sqlite');
  writeFileSync(path, '');
  const open = () => {
    const registry = openSqliteRegistry({ path, clock });
    onTestFinished(() => registry.close());
    return registry;
  };
  const registry = open();
  return {
    path,
    registry,
    reopen: async () => {
      await registry.close();
      return open();
    },
  };
}

describeRegistry('SQLite', async (clock) => newRegistry(clock));
describeLifecycle('SQLite', async (clock) => newRegistry(clock));
describeFeedStore('SQLite', async (clock) => newRegistry(clock));

test('a file that cannot be written is temporarily_unavailable, not a bug', async () => {
  const clock = createDrivenClock();
  const { registry, reopen, path } = newRegistry(clock);
  await registry.close();
  const readOnly = openSqliteRegistry({ path, clock, isReadOnly: true });
  onTestFinished(() => readOnly.close());
  const spending = readOnly.spendAssertion({
    clientId: parseClientId('t-1'),
    jti: 'x',
    rememberUntil: 0,
  });
  await expect(spending).rejects.toMatchObject({
    error: 'temporarily_unavailable',
    status: 503,
    detail: expect.stringMatching(/^SQLITE_READONLY/),
  });
  await reopen();
});

test('answers survive a power cut: every commit is synced, references hold, types are strict', () => {
  const { path, registry } = newRegistry(createDrivenClock());
  onTestFinished(() => registry.close());
  const db = new SqliteDatabase(path, { readonly: true });
  expect(db.pragma('journal_mode', { simple: true })).toBe('wal');
  const loose = db
    .prepare(
      "SELECT name FROM pragma_table_list WHERE type = 'table' AND strict = 0 AND name NOT LIKE 'sqlite_%'",
    )
    .all();
  expect(loose).toEqual([]);
  db.close();
});
