/**
 * Suite `feed`: how soon a waiting broker knows of a change, and how fast the replica of a large fleet
 * is read, at first and after everything changed.
 *
 * The authority is a process of its own; the reader, in this one, verifies each page as a broker does.
 *
 * Units   milliseconds from before the change to the verified page; clients per second.
 *
 * @module
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { dataDirPaths, readOperatorKey } from '@latchkey/authority';
import {
  type FeedPosition,
  feedQuery,
  fitFeedPage,
  type Issuer,
  type IssuerKey,
  importIssuerJwk,
  JWT_BEARER_GRANT,
  newFeedNonce,
  parseResourceId,
  signAssertion,
  systemClock,
  type TokenAlgorithm,
  verifyFeedPage,
} from '@latchkey/shared';
import SqliteDatabase, { type Database } from 'better-sqlite3';
import { deviceId } from '../authority/messages.ts';
import { startLatchkey } from '../authority/servers.ts';
import { type Comparison, rateOf, type Suite } from '../harness.ts';

const CLIENTS = 100_000;
const RESOURCE = parseResourceId('mqtts://broker.example');
/** A change comes at any time within a poll of the authority. */
const LONGEST_PAUSE_MS = 120;
const CHANGES_PER_SAMPLE = 4;

interface Reader {
  /** Reads and verifies one page. */
  read(
    position: FeedPosition,
    waitSeconds?: number,
  ): Promise<{ next: FeedPosition; clients: number; hasMore: boolean }>;
  /** Reads all that there is; counts clients. */
  readAll(position: FeedPosition): Promise<{ next: FeedPosition; clients: number }>;
  /** Calls the management API. */
  call(method: 'POST' | 'PATCH', path: string, body: object): Promise<void>;
}

async function must(response: Response): Promise<Response> {
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  return response;
}

async function createReader(dataDir: string): Promise<Reader> {
  const { issuer, clientId, signer } = readOperatorKey(dataDirPaths(dataDir).operatorKey);
  const assertion = await signAssertion(signer, { clientId, issuer, now: systemClock.now() });
  const form = { grant_type: JWT_BEARER_GRANT, assertion, resource: `${issuer}/api` };
  const answer = await must(
    await fetch(`${issuer}/token`, { method: 'POST', body: new URLSearchParams(form) }),
  );
  const { access_token: token } = (await answer.json()) as { readonly access_token: string };
  const authorization = `Bearer ${token}`;
  let keys = await publishedKeys(issuer);

  const read: Reader['read'] = async (position, waitSeconds = 0) => {
    const expected = {
      issuer,
      resource: RESOURCE,
      nonce: newFeedNonce(),
      position,
      lastIssuedAt: 0,
    };
    const url = `${issuer}/feed?${feedQuery(expected, waitSeconds)}`;
    const response = await must(await fetch(url, { headers: { authorization } }));
    const message = Buffer.from(await response.arrayBuffer());
    const page = await verifyFeedPage(message, (kid) => keys.find((key) => key.kid === kid));
    keys = page.issuerKeys;
    const { position: next } = fitFeedPage(page, expected);
    return { next, clients: page.clients.length, hasMore: page.hasMore };
  };
  return {
    read,
    readAll: async (position) => {
      let clients = 0;
      for (let next = position; ; ) {
        const page = await read(next);
        clients += page.clients;
        next = page.next;
        if (!page.hasMore) return { next, clients };
      }
    },
    call: async (method, path, body) => {
      const headers = { authorization, 'content-type': 'application/json' };
      const url = `${issuer}/api/v1${path}`;
      await must(await fetch(url, { method, headers, body: JSON.stringify(body) }));
    },
  };
}

async function publishedKeys(issuer: Issuer): Promise<readonly IssuerKey[]> {
  const response = await must(await fetch(`${issuer}/jwks`));
  const { keys } = (await response.json()) as { readonly keys: { readonly alg: TokenAlgorithm }[] };
  return keys.map((jwk) => importIssuerJwk(jwk.alg, jwk));
}

/** Mean time of a few changes, each made while the reader waits. */
function latencyOf(reader: Reader, change: (turn: number) => unknown): () => Promise<number> {
  let turn = 0;
  let next: FeedPosition = { at: 'start' };
  return async () => {
    ({ next } = await reader.readAll(next));
    let totalMs = 0;
    for (let i = 0; i < CHANGES_PER_SAMPLE; i += 1) {
      const seen = reader.read(next, 10).then((page) => ({ page, at: performance.now() }));
      await delay(LONGEST_PAUSE_MS / 2 + (Math.random() * LONGEST_PAUSE_MS) / 2);
      const begun = performance.now();
      turn += 1;
      await change(turn);
      const { page, at } = await seen;
      if (page.clients !== 1) throw new Error(`${page.clients} clients instead of the one changed`);
      totalMs += at - begun;
      next = page.next;
    }
    return totalMs / CHANGES_PER_SAMPLE;
  };
}

function latencyComparison(reader: Reader, db: Database, pids: readonly number[]): Comparison {
  const update = db.prepare('UPDATE client SET may_mint = 1 - may_mint WHERE id = ?');
  const patch = (turn: number) =>
    reader.call('PATCH', `/clients/${deviceId(1)}`, { may_mint: turn % 2 === 0 });
  return {
    name: 'from a change to a waiting reader that has verified it',
    unit: 'ms',
    pids,
    contenders: [
      { name: 'changed by the API', sample: latencyOf(reader, patch) },
      {
        name: 'changed by another process',
        sample: latencyOf(reader, () => update.run(deviceId(2))),
      },
    ],
  };
}

function throughputComparison(reader: Reader, pids: readonly number[]): Comparison {
  const timed = async (position: FeedPosition) => {
    const begun = performance.now();
    const { clients } = await reader.readAll(position);
    return { operations: clients, ms: performance.now() - begun };
  };
  let turn = 0;
  return {
    name: `reading ${CLIENTS} clients`,
    unit: 'clients/s',
    pids,
    contenders: [
      { name: 'snapshot', sample: rateOf(() => timed({ at: 'start' })) },
      {
        name: 'changes of all',
        base: 'snapshot',
        sample: rateOf(async () => {
          const { next } = await reader.readAll({ at: 'start' });
          turn += 1;
          const scopes = [`pub:devices/{client_id}/${turn}/#`];
          await reader.call('PATCH', '/permissions/telemetry', { scopes });
          return timed(next);
        }),
      },
    ],
  };
}

export const feedSuite: Suite = {
  name: 'feed',
  about: 'telling brokers of changes, and reading a whole fleet',
  libraries: ['better-sqlite3'],
  prepare: async () => {
    const dir = mkdtempSync(join(tmpdir(), 'latchkey-bench-'));
    const server = await startLatchkey(dir, { xs: [], kids: [], count: CLIENTS });
    const dataDir = join(dir, 'latchkey');
    const reader = await createReader(dataDir);
    const db = new SqliteDatabase(dataDirPaths(dataDir).registry);
    const pids = [server.pid];
    return {
      comparisons: [latencyComparison(reader, db, pids), throughputComparison(reader, pids)],
      close: async () => {
        db.close();
        await server.stop();
        rmSync(dir, { recursive: true });
      },
    };
  },
};
