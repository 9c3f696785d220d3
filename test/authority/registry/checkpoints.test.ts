/** The thread that checkpoints the registry: what it copies, and that nothing depends on it. */
import { copyFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { openSqliteRegistry, startCheckpoints } from '@latchkey/authority';
import { parseClientId, silentLogger, systemClock } from '@latchkey/shared';
import SqliteDatabase from 'better-sqlite3';
import { expect, onTestFinished, test } from 'vitest';
import { createCapturedLog } from '../../helpers/captured-log.ts';
import { createDrivenClock } from '../../helpers/driven-clock.ts';
import { temporaryDir } from '../../helpers/processes.ts';

const clientId = parseClientId('t-1');
const rememberUntil = 4_000_000_000;

function newFile(): string {
  const path = join(temporaryDir(), 'registry.sqlite');
  writeFileSync(path, '');
  return path;
}

/** Frames of the log, and how many of them the database has. */
function logOf(path: string): { readonly log: number; readonly checkpointed: number } {
  const db = new SqliteDatabase(path);
  try {
    const [state] = db.pragma('wal_checkpoint(NOOP)') as { log: number; checkpointed: number }[];
    return state as { log: number; checkpointed: number };
  } finally {
    db.close();
  }
}

test('the thread copies the log to the database, and what was committed is there without the log', async () => {
  const path = newFile();
  const registry = openSqliteRegistry({
    path,
    clock: systemClock,
    servesWith: { logger: silentLogger },
  });
  onTestFinished(() => registry.close());
  let spent = 0;
  // Each commit by itself, until far more frames were written than a commit would ever leave.
  for (; logOf(path).checkpointed === 0; spent += 50) {
    for (let i = 0; i < 50; i += 1) {
      const jti = `jti-${spent + i}`;
      expect(await registry.spendAssertion({ clientId, jti, rememberUntil })).toBe(true);
    }
  }
  const { log, checkpointed } = logOf(path);
  expect(checkpointed).toBeGreaterThanOrEqual(900);
  expect(log).toBeLessThan(8000);
  const copy = newFile();
  copyFileSync(path, copy);
  const db = new SqliteDatabase(copy, { readonly: true });
  const count = db.prepare('SELECT count(*) FROM assertion_seen').pluck().get();
  db.close();
  expect(count).toBeGreaterThan(0);
});

test('the registry closes while the thread is still starting, and leaves no log behind', async () => {
  const path = newFile();
  const servesWith = { logger: silentLogger };
  const registry = openSqliteRegistry({ path, clock: systemClock, servesWith });
  expect(await registry.spendAssertion({ clientId, jti: 'a', rememberUntil })).toBe(true);
  await registry.close();
  expect(() => statSync(`${path}-wal`)).toThrow('ENOENT');
});

test('a thread that ends is logged and replaced; meanwhile a commit bounds the log', async () => {
  const path = newFile();
  const db = new SqliteDatabase(path);
  onTestFinished(() => void db.close());
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = OFF');
  const script = join(temporaryDir(), 'ends.mjs');
  writeFileSync(script, "throw new Error('the disk is gone');");
  const [clock, logger] = [createDrivenClock(), createCapturedLog()];
  const url = pathToFileURL(script);
  const checkpoints = startCheckpoints({ db, path, clock, logger, script: url });
  const failed = await logger.event('registry.checkpoints-failed');
  expect(String(failed.err)).toContain('the disk is gone');
  const before = logger.lines.length;
  await clock.advance(10_000);
  await logger.event('registry.checkpoints-failed', {}, before);

  db.exec('CREATE TABLE t (x BLOB)');
  const insert = db.prepare('INSERT INTO t VALUES (zeroblob(3000))');
  let longest = 0;
  for (let i = 0; i < 12_000; i += 1) {
    insert.run();
    if (i % 100 === 0) longest = Math.max(longest, logOf(path).log);
  }
  expect(longest).toBeGreaterThan(4000);
  expect(longest).toBeLessThan(8200);
  await checkpoints.stop();
});
