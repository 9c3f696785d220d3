/** Group commit: writes share a commit, and are answered after it or not at all. */
import { EventEmitter, once } from 'node:events';
import { fdatasync as fdatasyncOfSystem, fstatSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createGroupCommit, createLogSync, openSqliteRegistry } from '@latchkey/authority';
import { parseClientId } from '@latchkey/shared';
import SqliteDatabase from 'better-sqlite3';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { allEvents, faultOf, tokenEvent } from '../../helpers/audit-events.ts';
import { createDrivenClock } from '../../helpers/driven-clock.ts';
import { temporaryDir } from '../../helpers/processes.ts';

const fromSystem = promisify(fdatasyncOfSystem);

function setup({
  maxWaiting,
  fdatasync = fromSystem,
}: {
  readonly maxWaiting?: number;
  readonly fdatasync?: (fd: number) => Promise<void>;
} = {}) {
  const path = join(temporaryDir(), 'x.sqlite');
  const db = new SqliteDatabase(path);
  db.pragma('journal_mode = WAL');
  db.pragma('busy_timeout = 50');
  db.pragma('synchronous = FULL');
  db.exec('CREATE TABLE t (n INTEGER PRIMARY KEY)');
  const logSync = createLogSync({ db, fdatasync });
  onTestFinished(() => {
    logSync.close();
    db.close();
  });
  const insert = db.prepare('INSERT INTO t VALUES (?)');
  const group = createGroupCommit({ db, logSync, ...(maxWaiting !== undefined && { maxWaiting }) });
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
  return { db, path, group, logSync, insert, committed, add };
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
    const { add, committed } = setup({ maxWaiting: 2 });
    const results = await Promise.allSettled([add(1), add(2), add(3)]);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected']);
    expect(results[2]).toMatchObject({ reason: { error: 'temporarily_unavailable', status: 503 } });
    expect(committed()).toEqual([1, 2]);
  });

  test('are all answered when the group has drained', async () => {
    const { add, group } = setup();
    await group.drained();
    const answered: number[] = [];
    const writes = [1, 2].map((n) => add(n).then(() => answered.push(n)));
    await group.drained();
    expect(answered).toEqual([1, 2]);
    await Promise.all(writes);
  });
});

/** Syncs that end when the test says so. */
function heldSyncs() {
  const began = new EventEmitter();
  const ends: (() => void)[] = [];
  return {
    fdatasync: () =>
      new Promise<void>((resolve) => {
        ends.push(resolve);
        began.emit('sync');
      }),
    /** Resolves when the next sync has begun, with what ends it. */
    next: async (): Promise<() => void> => {
      if (ends.length === 0) await once(began, 'sync');
      return ends.shift() as () => void;
    },
    count: () => ends.length,
  };
}

describe('a sync to the disk', () => {
  test('is of the log of this database', async () => {
    const files: number[] = [];
    const { path, add } = setup({
      fdatasync: async (fd) => {
        files.push(fstatSync(fd).ino);
        await fromSystem(fd);
      },
    });
    await add(1);
    await add(2);
    const { ino } = statSync(`${path}-wal`);
    expect(files).toEqual([ino, ino]);
  });

  test('is waited for by every write, and only one runs at a time', async () => {
    const syncs = heldSyncs();
    const { add, committed } = setup({ fdatasync: syncs.fdatasync });
    const answered: number[] = [];
    const write = (n: number) => add(n).then(() => answered.push(n));
    const first = write(1);
    const endFirst = await syncs.next();
    const later = [write(2), write(3)];
    await new Promise(setImmediate);
    // Committed, and yet nobody has been told.
    expect(committed()).toEqual([1]);
    expect(answered).toEqual([]);
    expect(syncs.count()).toBe(0);
    endFirst();
    await first;
    const endSecond = await syncs.next();
    expect(answered).toEqual([1]);
    expect(committed()).toEqual([1, 2, 3]);
    endSecond();
    await Promise.all(later);
    expect(answered).toEqual([1, 2, 3]);
  });

  test('is not made when nothing was committed', async () => {
    const syncs = heldSyncs();
    const { group } = setup({ fdatasync: syncs.fdatasync });
    const fail = () => {
      throw new TypeError('a bug');
    };
    await expect(group.run(fail)).rejects.toThrow('a bug');
    expect(syncs.count()).toBe(0);
  });

  test('that fails refuses what waited for it, and what comes later works when the log is begun anew', async () => {
    let fails = 1;
    const { path, add } = setup({
      fdatasync: async (fd) => {
        fails -= 1;
        if (fails >= 0) throw new Error('EIO');
        await fromSystem(fd);
      },
    });
    const before = await Promise.allSettled([add(1), add(2)]);
    for (const result of before) {
      expect(result).toMatchObject({ status: 'rejected', reason: { status: 503 } });
    }
    expect(await add(3)).toBe(1);
    // Page 1 of the log is the first since: what was there before is in the database.
    const frames = (statSync(`${path}-wal`).size - 32) / (4096 + 24);
    expect(frames).toBeLessThanOrEqual(2);
  });

  test('that fails keeps everything refused until the log could be begun anew', async () => {
    const { path, db, add, logSync } = setup({
      fdatasync: () => Promise.reject(new Error('EIO')),
    });
    await expect(add(1)).rejects.toMatchObject({ status: 503 });
    // A reader holds the log as it is.
    const reader = new SqliteDatabase(path, { readonly: true });
    onTestFinished(() => void reader.close());
    reader.exec('BEGIN');
    reader.prepare('SELECT * FROM t').all();
    const { size } = statSync(`${path}-wal`);
    await expect(add(2)).rejects.toMatchObject({ status: 503 });
    expect(() => logSync.requireSound()).toThrow(/the disk does not take what is written/);
    expect(statSync(`${path}-wal`).size).toBe(size);
    reader.exec('COMMIT');
    logSync.requireSound();
    expect(statSync(`${path}-wal`).size).toBe(0);
    expect(db.pragma('synchronous', { simple: true })).toBe(2);
  });

  test('leaves other commits as durable as they were', async () => {
    const { db, group } = setup();
    const level = () => db.pragma('synchronous', { simple: true });
    const within = await group.run(level);
    expect([within, level()]).toEqual([1, 2]);
    await expect(
      group.run(() => {
        throw new TypeError('a bug');
      }),
    ).rejects.toThrow();
    expect(level()).toBe(2);
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
