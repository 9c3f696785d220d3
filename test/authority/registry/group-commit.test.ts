/** Group commit: writes share a commit, and are answered after it or not at all. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createGroupCommit, openSqliteRegistry } from '@latchkey/authority';
import { parseClientId } from '@latchkey/shared';
import SqliteDatabase from 'better-sqlite3';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { allEvents, faultOf, tokenEvent } from '../../helpers/audit-events.ts';
import { createDrivenClock } from '../../helpers/driven-clock.ts';
import { temporaryDir } from '../../helpers/processes.ts';

function setup(maxWaiting?: number) {
  const path = join(temporaryDir(), 'x.sqlite');
  const db = new SqliteDatabase(path);
  db.pragma('journal_mode = WAL');
  db.pragma('busy_timeout = 50');
  db.exec('CREATE TABLE t (n INTEGER PRIMARY KEY)');
  onTestFinished(() => void db.close());
  const insert = db.prepare('INSERT INTO t VALUES (?)');
  const group = createGroupCommit({ db, ...(maxWaiting !== undefined && { maxWaiting }) });
  /** What another connection sees. */
  const committed = () => {
    const other = new SqliteDatabase(path, { readonly: true });
    try {
      return other.prepare<[], number>('SELECT n FROM t ORDER BY n').pluck().all();
    } finally {
      other.close();
    }
  };
  const add = (n: number) => group.run(() => insert.run(n).changes);
  return { db, path, group, insert, committed, add };
}

describe('writes of one turn', () => {
  test('are committed together, in order, before any of them is answered', async () => {
    const { add, committed } = setup();
    const answered: number[] = [];
    const writes = [3, 1, 2].map((n) =>
      add(n).then(() => {
        answered.push(n);
        expect(committed()).toEqual([1, 2, 3]);
      }),
    );
    expect(committed()).toEqual([]);
    await Promise.all(writes);
    expect(answered).toEqual([3, 1, 2]);
  });

  test('are one transaction', async () => {
    const { db, group } = setup();
    const changes = () => db.prepare<[], number>('SELECT total_changes()').pluck().get();
    const seen = await Promise.all(
      [1, 2, 3].map(() => group.run(() => [db.inTransaction, changes()])),
    );
    expect(seen.every(([isInside]) => isInside === true)).toBe(true);
  });

  test('do not fail with the one that fails for a reason of its own', async () => {
    const { group, add, insert, committed } = setup();
    const results = await Promise.allSettled([
      add(1),
      group.run(() => {
        insert.run(99);
        throw new TypeError('a bug');
      }),
      add(2),
    ]);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(results[1]).toMatchObject({ reason: { message: 'a bug' } });
    expect(committed()).toEqual([1, 2]);
  });

  test('all fail when the storage does, nothing of them remains, and later ones work', async () => {
    const { path, add, committed } = setup();
    const other = new SqliteDatabase(path);
    onTestFinished(() => void other.close());
    other.exec('BEGIN IMMEDIATE');
    const results = await Promise.allSettled([add(1), add(2), add(3)]);
    for (const result of results) {
      expect(result).toMatchObject({ status: 'rejected', reason: { code: 'SQLITE_BUSY' } });
    }
    other.exec('COMMIT');
    expect(committed()).toEqual([]);
    expect(await add(4)).toBe(1);
    expect(committed()).toEqual([4]);
  });

  test('all fail when the disk is full in the middle', async () => {
    const { db, add, group, committed } = setup();
    await add(1);
    db.exec('CREATE TABLE big (text TEXT)');
    const pages = db.pragma('page_count', { simple: true }) as number;
    db.pragma(`max_page_count = ${pages + 2}`);
    const fill = () => db.prepare('INSERT INTO big VALUES (?)').run('x'.repeat(100_000));
    const results = await Promise.allSettled([add(2), group.run(fill), add(3)]);
    for (const result of results) {
      expect(result).toMatchObject({ status: 'rejected', reason: { code: 'SQLITE_FULL' } });
    }
    expect(committed()).toEqual([1]);
  });

  test('beyond the bound are refused at once, and those before are not', async () => {
    const { add, committed } = setup(2);
    const results = await Promise.allSettled([add(1), add(2), add(3)]);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected']);
    expect(results[2]).toMatchObject({ reason: { error: 'temporarily_unavailable', status: 503 } });
    expect(committed()).toEqual([1, 2]);
  });

  test('that wait are committed by a flush', async () => {
    const { add, group, committed } = setup();
    const write = add(1);
    group.flush();
    expect(committed()).toEqual([1]);
    expect(await write).toBe(1);
  });
});

describe('the registry', () => {
  function openRegistry() {
    const path = join(temporaryDir(), 'registry.sqlite');
    writeFileSync(path, '');
    const registry = openSqliteRegistry({ path, clock: createDrivenClock() });
    onTestFinished(() => registry.close());
    return { path, registry };
  }

  test('lets one of any number of equal spends win, whichever turn they are in', async () => {
    const { registry } = openRegistry();
    const spends = fc.array(
      fc.record({
        client: fc.constantFrom('a', 'b', 'c'),
        jti: fc.constantFrom('x', 'y', 'z'),
        waits: fc.boolean(),
      }),
      { maxLength: 40 },
    );
    let run = 0;
    await fc.assert(
      fc.asyncProperty(spends, async (list) => {
        run += 1;
        const won = new Map<string, number>();
        const pending = [];
        for (const { client, jti, waits } of list) {
          const key = `${client}:${jti}`;
          const assertion = {
            clientId: parseClientId(`${client}-${run}`),
            jti,
            rememberUntil: 2_000_000_000,
          };
          pending.push(
            registry.spendAssertion(assertion).then((isFirst) => {
              if (isFirst) won.set(key, (won.get(key) ?? 0) + 1);
            }),
          );
          if (waits) await Promise.all(pending);
        }
        await Promise.all(pending);
        const keys = new Set(list.map(({ client, jti }) => `${client}:${jti}`));
        expect(new Set(won.keys())).toEqual(keys);
        expect([...won.values()].every((count) => count === 1)).toBe(true);
      }),
      { numRuns: 50 },
    );
  });

  test('keeps what it answered when it closes in the same turn', async () => {
    const { path, registry } = openRegistry();
    const recording = registry.recordEvent(tokenEvent());
    await registry.close();
    await recording;
    const again = openSqliteRegistry({ path, clock: createDrivenClock() });
    onTestFinished(() => again.close());
    expect(await allEvents(again)).toHaveLength(1);
    expect(await faultOf(again)).toBeUndefined();
  });
});
