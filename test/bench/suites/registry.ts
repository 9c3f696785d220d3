/**
 * Suite `registry`: how long a factory's file takes to be registered, also when the run is killed or lines
 * are bad, and how import, export and a filtered list grow with what the registry holds already.
 *
 * The authority is a process of its own, and so is the command line. What a run leaves is compared with
 * what it should leave; a difference ends the suite.
 *
 * Units   seconds for a whole file; milliseconds for 500 lines, for a page of 10; clients per second.
 *
 * @module
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { dataDirPaths, readOperatorKey } from '@latchkey/authority';
import { JWT_BEARER_GRANT, signAssertion, systemClock } from '@latchkey/shared';
import SqliteDatabase from 'better-sqlite3';
import { badLine, newFleet, newPublicKey, writeFleet } from '../authority/fleet-file.ts';
import { type Server, startLatchkey, subDir } from '../authority/servers.ts';
import { type Comparison, MIN_SAMPLE_MS, type Suite } from '../harness.ts';

const FLEET = 100_000;
const BAD_LINES = 1000;
const KILLS = 3;
const SIZES = [1000, 100_000, 1_000_000] as const;
const BATCH = 500;
const MAX_ROUNDS = 3;
const GOAL_SECONDS = 20;
const LATCHKEY = fileURLToPath(new URL('../../../../authority/bin/latchkey.js', import.meta.url));

function startCli(args: readonly string[]): ChildProcess {
  return spawn(process.execPath, [LATCHKEY, ...args], { stdio: ['ignore', 'ignore', 'ignore'] });
}

async function runCli(args: readonly string[], expectedCode = 0): Promise<void> {
  const child = startCli(args);
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== expectedCode) throw new Error(`latchkey ${args.join(' ')}: exit ${code}`);
}

/** An empty authority for the time of the work. */
async function withAuthority<Result>(
  work: (dataDir: string, dir: string) => Promise<Result>,
): Promise<Result> {
  const dir = mkdtempSync(join(tmpdir(), 'latchkey-bench-'));
  const server = await startLatchkey(dir, { xs: [], kids: [], count: 0 });
  try {
    return await work(join(dir, 'latchkey'), dir);
  } finally {
    await server.stop();
    rmSync(dir, { recursive: true, force: true });
  }
}

function read<Result>(dataDir: string, work: (db: SqliteDatabase.Database) => Result): Result {
  const db = new SqliteDatabase(dataDirPaths(dataDir).registry, { readonly: true });
  try {
    return work(db);
  } finally {
    db.close();
  }
}

const countOf = (dataDir: string): number =>
  read(dataDir, (db) =>
    db.prepare<[], number>("SELECT count(*) FROM client WHERE kind = 'device'").pluck().get(),
  ) as number;

/** Everything that an import writes, but for when. */
function digestOf(dataDir: string): string {
  const rows = read(dataDir, (db) =>
    [
      "SELECT id, status, may_mint, token_ttl_seconds, version FROM client WHERE kind = 'device'",
      "SELECT kid, client, x FROM client_key WHERE client <> 'operator'",
      "SELECT kid, client FROM key_owner WHERE client <> 'operator'",
      'SELECT client, key, value FROM client_label',
      "SELECT client, role FROM client_role WHERE client <> 'operator'",
    ].map((sql) => db.prepare(`${sql} ORDER BY 1, 2`).raw().all()),
  );
  return createHash('sha256').update(JSON.stringify(rows)).digest('hex');
}

const secondsOf = async (work: () => Promise<void>): Promise<number> => {
  const begun = performance.now();
  await work();
  return (performance.now() - begun) / 1000;
};

function wholeFile(dir: string): Comparison {
  const lines = newFleet(FLEET);
  const good = join(dir, 'fleet.csv');
  writeFleet(good, lines);
  const bad = join(dir, 'with-bad.csv');
  const every = FLEET / BAD_LINES;
  const expected = Array.from({ length: BAD_LINES }, (_, i) => badLine(i));
  writeFleet(
    bad,
    lines.flatMap((line, i) => (i % every === 0 ? [badLine(i / every), line] : line)),
  );
  let digest: string | undefined;
  const check = (dataDir: string): void => {
    const found = digestOf(dataDir);
    digest ??= found;
    if (found !== digest) throw new Error('the registry is not that of the unbroken run');
  };
  const unbroken = () =>
    withAuthority(async (dataDir) => {
      const seconds = await secondsOf(() =>
        runCli(['device', 'import', good, '--data-dir', dataDir]),
      );
      check(dataDir);
      return seconds;
    });
  const killed = () =>
    withAuthority(async (dataDir) => {
      const args = ['device', 'import', good, '--data-dir', dataDir];
      const seconds = await secondsOf(async () => {
        for (let kill = 1; kill <= KILLS; kill += 1) {
          const child = startCli(args);
          while (countOf(dataDir) < (FLEET / (KILLS + 1)) * kill) await delay(20);
          child.kill('SIGKILL');
          await once(child, 'close');
        }
        if (countOf(dataDir) >= FLEET) throw new Error('the last run was killed too late');
        await runCli(args);
      });
      check(dataDir);
      return seconds;
    });
  const withBadLines = () =>
    withAuthority(async (dataDir, own) => {
      const rejects = join(own, 'rejects.csv');
      const seconds = await secondsOf(() =>
        runCli(['device', 'import', bad, '--rejects', rejects, '--data-dir', dataDir], 1),
      );
      check(dataDir);
      const refused = readFileSync(rejects, 'utf8').trimEnd().split('\n').slice(1);
      const isExact = refused.every(
        (line, i) => /^.{8}.*,/.test(line) && line.endsWith(`,${expected[i]}`),
      );
      if (refused.length !== BAD_LINES || !isExact) throw new Error('other lines were refused');
      return seconds;
    });
  const names = {
    unbroken: 'an unbroken run',
    killed: `killed ${KILLS} times with SIGKILL and run again`,
    bad: `with ${BAD_LINES} bad lines among them`,
  };
  return {
    name: `latchkey device import of ${FLEET.toLocaleString('en')} lines into an empty registry`,
    unit: 's',
    contenders: [
      { name: names.unbroken, sample: unbroken },
      { name: names.killed, base: names.unbroken, sample: killed },
      { name: names.bad, base: names.unbroken, sample: withBadLines },
    ],
    targets: [
      {
        contender: names.unbroken,
        base: 'seconds',
        atMost: GOAL_SECONDS,
        derive: (of) => of(names.unbroken),
      },
    ],
    maxRounds: MAX_ROUNDS,
    maxRetries: 0,
    warmUps: 0,
  };
}

interface Fleet {
  readonly size: number;
  readonly server: Server;
  call(method: 'GET' | 'POST', path: string, body?: object): Promise<Record<string, unknown>>;
}

async function startFleet(dir: string, size: number): Promise<Fleet> {
  const own = subDir(dir, String(size));
  const server = await startLatchkey(own, { xs: [], kids: [], count: size });
  const dataDir = join(own, 'latchkey');
  const db = new SqliteDatabase(dataDirPaths(dataDir).registry);
  // A hundredth of the fleet has each label; its changes are nobody's business here.
  db.exec(`INSERT INTO client_label (client, key, value)
           SELECT id, 'site', 'site-' || (CAST(substr(id, 3) AS INTEGER) % 100) FROM client WHERE kind = 'device'`);
  db.close();
  const { issuer, clientId, signer } = readOperatorKey(dataDirPaths(dataDir).operatorKey);
  const assertion = await signAssertion(signer, { clientId, issuer, now: systemClock.now() });
  const form = { grant_type: JWT_BEARER_GRANT, assertion, resource: `${issuer}/api` };
  const answer = await fetch(`${issuer}/token`, {
    method: 'POST',
    body: new URLSearchParams(form),
  });
  const { access_token: token } = (await answer.json()) as { readonly access_token: string };
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  return {
    ...{ size, server },
    call: async (method, path, body) => {
      const response = await fetch(`${issuer}/api/v1${path}`, {
        ...{ method, headers },
        ...(body && { body: JSON.stringify(body) }),
      });
      if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
      return (await response.json()) as Record<string, unknown>;
    },
  };
}

/** Milliseconds that one run of the work takes, as the mean of as many as make a sample. */
async function msOf(work: () => Promise<number>): Promise<number> {
  let [times, totalMs] = [0, 0];
  while (totalMs < MIN_SAMPLE_MS) {
    totalMs += await work();
    times += 1;
  }
  return totalMs / times;
}

const timed = async (work: () => Promise<unknown>): Promise<number> => {
  const begun = performance.now();
  await work();
  return performance.now() - begun;
};

/** A comparison of one kind of work at every size, and the exponent by which its time grows. */
function bySize(
  fleets: readonly Fleet[],
  name: string,
  unit: string,
  work: (fleet: Fleet) => Promise<number>,
  exponentAtMost: number,
): Comparison {
  const nameOf = ({ size }: Fleet) => `${size.toLocaleString('en')} devices`;
  const [least, most] = [fleets[0] as Fleet, fleets.at(-1) as Fleet];
  const growth = Math.log(most.size / least.size);
  return {
    ...{ name, unit },
    contenders: fleets.map((fleet) => ({
      name: nameOf(fleet),
      ...(fleet !== least && { base: nameOf(least) }),
      sample: () => work(fleet),
    })),
    targets: [
      {
        contender: nameOf(most),
        base: `growth exponent from ${nameOf(least)}`,
        atMost: exponentAtMost,
        derive: (of) => Math.log(of(nameOf(most)) / of(nameOf(least))) / growth,
      },
    ],
    pids: fleets.map(({ server }) => server.pid),
    maxRounds: MAX_ROUNDS,
  };
}

let imported = 0;

async function importBatch({ call }: Fleet): Promise<number> {
  const lines = Array.from({ length: BATCH }, () => {
    imported += 1;
    return { client_id: `new-${imported}`, public_key: newPublicKey(), roles: ['thermostat'] };
  });
  return timed(async () => {
    const { created } = await call('POST', '/devices/import', { lines });
    if (created !== BATCH) throw new Error(`${created} were registered`);
  });
}

async function exportAll({ call }: Fleet): Promise<number> {
  let count = 0;
  const ms = await timed(async () => {
    for (let after: unknown; after !== null; ) {
      const query = after === undefined ? '' : `&after=${after}`;
      const page = await call('GET', `/devices?limit=500${query}`);
      count += (page.items as readonly unknown[]).length;
      after = page.next;
    }
  });
  // Per thousand, since a larger fleet is of course more to read.
  return (ms / count) * 1000;
}

export const registrySuite: Suite = {
  name: 'registry',
  about: 'registering a whole fleet, reading it, and how both grow',
  libraries: ['better-sqlite3', 'csv-parse'],
  prepare: async () => {
    const dir = mkdtempSync(join(tmpdir(), 'latchkey-bench-'));
    const fleets: Fleet[] = [];
    const close = async (): Promise<void> => {
      for (const { server } of fleets) await server.stop();
      rmSync(dir, { recursive: true, force: true });
    };
    try {
      for (const size of SIZES) fleets.push(await startFleet(dir, size));
      const list = (fleet: Fleet) =>
        msOf(() => timed(() => fleet.call('GET', '/devices?label=site%3Dsite-7&limit=10')));
      const importing = (fleet: Fleet) => msOf(() => importBatch(fleet));
      return {
        comparisons: [
          wholeFile(dir),
          bySize(fleets, `importing ${BATCH} devices into a registry of`, 'ms', importing, 0.2),
          bySize(fleets, 'the first 10 devices with a label, in a registry of', 'ms', list, 0.1),
          bySize(fleets, 'exporting 1000 devices of a registry of', 'ms', exportAll, 0.1),
        ],
        close,
      };
    } catch (error) {
      await close();
      throw error;
    }
  },
};
