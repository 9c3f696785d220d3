/**
 * The servers that are measured, each a process of its own on a fresh data directory.
 *
 * @module
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { dataDirPaths, initDataDir, loadConfig, openDataDir } from '@latchkey/authority';
import {
  parseIssuer,
  parsePermissionName,
  parseResourceId,
  parseRoleName,
  systemClock,
} from '@latchkey/shared';
import SqliteDatabase from 'better-sqlite3';
import { deviceId, type Target } from './messages.ts';

export interface Server {
  readonly pid: number;
  readonly target: Target;
  stop(): Promise<void>;
}

export const LATCHKEY: string = fileURLToPath(
  new URL('../../../../authority/bin/latchkey.js', import.meta.url),
);
const script = (name: string) => fileURLToPath(new URL(`./${name}`, import.meta.url));

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { readonly port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/** Resolves with the first line that it prints and that satisfies; its log goes on into a file. */
export async function startLogged(
  args: readonly string[],
  logFile: string,
  isReady: (text: string) => boolean,
): Promise<ChildProcess> {
  const fd = openSync(logFile, 'w');
  const child = spawn(process.execPath, args, { stdio: ['ignore', fd, 'inherit'] });
  closeSync(fd);
  for (let tries = 0; !isReady(readFileSync(logFile, 'utf8')); tries += 1) {
    if (child.exitCode !== null || tries > 600) {
      throw new Error(`${args.join(' ')} did not start:\n${readFileSync(logFile, 'utf8')}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return child;
}

function serverOf(child: ChildProcess, target: Target): Server {
  return {
    pid: child.pid as number,
    target,
    stop: async () => {
      const closed = once(child, 'close');
      child.kill('SIGTERM');
      await closed;
    },
  };
}

/** Public keys of the devices that ask for tokens; others only lie in the table. */
export interface Devices {
  readonly xs: readonly string[];
  /** Their thumbprints. */
  readonly kids: readonly string[];
  readonly count: number;
}

/** Key of a device: those that ask repeat the keys they have, all others have one that nobody holds. */
const xOf = ({ xs }: Devices, index: number): string =>
  xs[index] ?? Buffer.from(`nobody-${index}`.padEnd(32, '.')).toString('base64url').slice(0, 43);

/** Fills a table as fast as SQLite can: triggers, which make one change visible to brokers, come back later. */
function fillRegistry(path: string, devices: Devices): void {
  const db = new SqliteDatabase(path);
  try {
    db.pragma('synchronous = OFF');
    db.pragma('cache_size = -400000');
    db.pragma('foreign_keys = OFF');
    const triggers = db
      .prepare<[], { name: string; sql: string }>(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name LIKE 'client%'",
      )
      .all();
    for (const { name } of triggers) db.exec(`DROP TRIGGER ${name}`);
    const now = systemClock.now();
    const client = db.prepare(
      "INSERT INTO client (id, kind, status, created_at) VALUES (?, 'device', 'active', ?)",
    );
    const key = db.prepare(
      'INSERT INTO client_key (kid, client, x, created_at) VALUES (?, ?, ?, ?)',
    );
    const role = db.prepare("INSERT INTO client_role (client, role) VALUES (?, 'thermostat')");
    db.transaction(() => {
      for (let i = 0; i < devices.count; i += 1) {
        const id = deviceId(i);
        client.run(id, now);
        key.run(devices.kids[i] ?? kidOf(i), id, xOf(devices, i), now);
        role.run(id);
      }
      db.exec(`INSERT OR IGNORE INTO key_owner (kid, client) SELECT kid, client FROM client_key;
               INSERT OR IGNORE INTO client_change (client) SELECT id FROM client;`);
      db.exec("UPDATE client SET status = 'revoked' WHERE id = 'd-0000000'");
    })();
    for (const { sql } of triggers) db.exec(sql);
    db.pragma('wal_checkpoint(TRUNCATE)');
  } finally {
    db.close();
  }
}

/** Spread over the table as the thumbprints of real keys are, and each another. */
function kidOf(index: number): string {
  const bytes = Buffer.alloc(32);
  for (let word = 0; word < 8; word += 1) {
    bytes.writeUInt32BE(Math.imul(index * 8 + word + 1, 2_654_435_761) >>> 0, word * 4);
  }
  return bytes.toString('base64url');
}

/** The built `latchkey serve` with the settings of `init`, but for the rate limits. */
export async function startLatchkey(dir: string, devices: Devices): Promise<Server> {
  const port = await freePort();
  const issuer = parseIssuer(`http://127.0.0.1:${port}`);
  const dataDir = join(dir, 'latchkey');
  const clock = systemClock;
  await initDataDir({ dataDir, issuer, clock });
  const paths = dataDirPaths(dataDir);
  const text = readFileSync(paths.config, 'utf8');
  writeFileSync(paths.config, text.replace(/^((?:address|client)_\w+ = )\d+$/gm, '$11000000'));
  const { registry } = await openDataDir({ dataDir, config: loadConfig(dataDir), clock });
  const resource = parseResourceId('mqtts://broker.example');
  const name = parsePermissionName('telemetry');
  const scopes = ['pub:devices/{client_id}/telemetry/#', 'sub:devices/{client_id}/commands/+'];
  await registry.createResource({ identifier: resource, kind: 'mqtt', tokenTtlSeconds: 900 });
  await registry.createPermission({ name, resource, scopes });
  await registry.createRole({ name: parseRoleName('thermostat'), permissions: [name] });
  await registry.close();
  fillRegistry(paths.registry, devices);
  const child = await startLogged(
    [LATCHKEY, 'serve', '--data-dir', dataDir],
    join(dir, 'latchkey.log'),
    (log) => log.includes('authority.listening'),
  );
  return serverOf(child, { issuer, port, path: '/token' });
}

function fillPlain(file: string, devices: Devices): void {
  const db = new SqliteDatabase(file);
  db.exec(`
    CREATE TABLE client (id TEXT PRIMARY KEY, kid TEXT, x TEXT, scope TEXT) WITHOUT ROWID;
    CREATE TABLE seen (client TEXT, jti TEXT, until INTEGER, PRIMARY KEY (client, jti)) WITHOUT ROWID;
    CREATE INDEX seen_by_until ON seen (until);
    CREATE TABLE audit (sequence INTEGER PRIMARY KEY, at INTEGER, client TEXT, jti TEXT, outcome TEXT);
    CREATE TABLE stored (model TEXT, id TEXT, payload TEXT, expires_at INTEGER, PRIMARY KEY (model, id)) WITHOUT ROWID;
    CREATE INDEX stored_by_expires_at ON stored (expires_at);
  `);
  const insert = db.prepare('INSERT INTO client (id, kid, x, scope) VALUES (?, ?, ?, ?)');
  db.transaction(() => {
    for (let i = 0; i < devices.count; i += 1) {
      const id = deviceId(i);
      const scope = `pub:devices/${id}/telemetry/# sub:devices/${id}/commands/+`;
      insert.run(id, devices.kids[i], xOf(devices, i), scope);
    }
  })();
  db.close();
}

export type Synchronous = 'FULL' | 'NORMAL';

/** The handler written by hand. */
export async function startMinimal(
  dir: string,
  devices: Devices,
  synchronous: Synchronous,
): Promise<Server> {
  const file = join(dir, `minimal-${synchronous}.sqlite`);
  fillPlain(file, devices);
  const issuer = 'https://id.example';
  const log = `${file}.log`;
  const isReady = (text: string) => text.includes('\n');
  const child = await startLogged(
    [script('minimal-server.js'), file, issuer, synchronous],
    log,
    isReady,
  );
  const port = Number(readFileSync(log, 'utf8').trim());
  return serverOf(child, { issuer, port, path: '/token' });
}

export async function startOidcProvider(
  dir: string,
  devices: Devices,
  synchronous: Synchronous,
): Promise<Server> {
  const port = await freePort();
  const file = join(dir, `oidc-provider-${synchronous}.sqlite`);
  fillPlain(file, devices);
  const args = [script('oidc-provider-server.js'), file, String(port), synchronous];
  const child = await startLogged(args, `${file}.log`, (text) => text.includes(String(port)));
  const issuer = `http://localhost:${port}`;
  return serverOf(child, { issuer, port, path: '/token', resource: 'mqtts://broker.example' });
}

/** A directory of its own. */
export function subDir(dir: string, name: string): string {
  const path = join(dir, name);
  mkdirSync(path);
  return path;
}
