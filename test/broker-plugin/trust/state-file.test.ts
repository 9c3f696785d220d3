/** The broker's state file: private, one broker's, and refused with the way out when it cannot be trusted. */
import { chmodSync, existsSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError } from '@latchkey/shared';
import SqliteDatabase from 'better-sqlite3';
import { expect, test } from 'vitest';
import { createKeyCopies } from '../../../broker-plugin/src/trust/key-copies.ts';
import { openStateFile } from '../../../broker-plugin/src/trust/state-file.ts';
import { temporaryDir } from '../../helpers/processes.ts';

const newPath = () => join(temporaryDir(), 'state.db');
const modeOf = (path: string) => (statSync(path).mode & 0o777).toString(8);

/** A closed state file of several pages. */
function made(): string {
  const path = newPath();
  const db = openStateFile(path);
  const keys = Array.from({ length: 500 }, (_, i) => ({ kid: `key-${i}`, x: 'x'.repeat(43) }));
  createKeyCopies(db).save('https://id.example', keys, 1);
  db.close();
  return path;
}

test('is made with mode 0600, with all that belongs to it', () => {
  const path = newPath();
  const before = process.umask(0);
  const db = openStateFile(path);
  db.exec("INSERT INTO issuer_keys VALUES ('https://id.example', '[]', 1)");
  process.umask(before);
  expect([path, `${path}-wal`].map(modeOf)).toEqual(['600', '600']);
  expect(db.pragma('journal_mode', { simple: true })).toBe('wal');
  expect(db.pragma('synchronous', { simple: true })).toBe(2);
  db.close();
});

test('keeps what it holds when it is opened again', () => {
  const db = openStateFile(made());
  expect(createKeyCopies(db).load('https://id.example')).toHaveLength(500);
  db.close();
});

test.each([
  {
    name: 'that others may read',
    spoil: (path: string) => chmodSync(path, 0o640),
    says: /chmod 600/,
  },
  {
    name: 'of a newer program',
    spoil: (path: string) => {
      const db = new SqliteDatabase(path);
      db.pragma('user_version = 99');
      db.close();
    },
    says: /version 99.*newer one.*delete it/,
  },
  {
    name: 'whose middle is overwritten',
    spoil: (path: string) => {
      const bytes = Buffer.alloc(statSync(path).size - 4096, 0xff);
      const db = new SqliteDatabase(path);
      db.pragma('wal_checkpoint(TRUNCATE)');
      db.close();
      writeFileSync(path, bytes, { flag: 'r+', mode: 0o600 });
    },
    says: /not the state file|damaged/,
  },
  {
    name: 'that was cut short',
    spoil: (path: string) => truncateSync(path, statSync(path).size - 2 * 4096),
    says: /damaged; .*delete it/,
  },
  {
    name: 'that is a text',
    spoil: (path: string) => writeFileSync(path, 'hello '.repeat(500)),
    says: /not the state file/,
  },
])('a file $name is refused, with what to do, and left as it is', ({ spoil, says }) => {
  const path = made();
  spoil(path);
  const before = statSync(path).size;
  expect(() => openStateFile(path)).toThrow(says);
  expect(() => openStateFile(path)).toThrow(ConfigError);
  expect(statSync(path).size).toBe(before);
});

test('the database of another program is refused and left as it is', () => {
  const path = newPath();
  const other = new SqliteDatabase(path);
  other.exec('CREATE TABLE t (a)');
  other.close();
  chmodSync(path, 0o600);
  expect(() => openStateFile(path)).toThrow(/not the state file/);
  const again = new SqliteDatabase(path);
  expect(again.pragma('journal_mode', { simple: true })).toBe('delete');
  again.close();
});

test('two brokers cannot share one', { timeout: 20_000 }, () => {
  const path = newPath();
  const db = openStateFile(path);
  expect(() => openStateFile(path)).toThrow(/in use by another broker/);
  db.close();
  openStateFile(path).close();
});

test('a folder that does not exist is not made', () => {
  const path = join(temporaryDir(), 'none', 'state.db');
  expect(() => openStateFile(path)).toThrow(/cannot be opened for writing \(ENOENT\)/);
  expect(existsSync(path)).toBe(false);
});
