/** The replica of the trust feed on disk: DESIGN 4 and 8, invariants I10 and I11. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import {
  type FeedPage,
  type FeedReader,
  fitFeedPage,
  importIssuerJwk,
  newFeedNonce,
  parseClientId,
  parseResourceId,
} from '@latchkey/shared';
import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { createKeyCopies } from '../../../broker-plugin/src/trust/key-copies.ts';
import { createReplica, type Replica } from '../../../broker-plugin/src/trust/replica.ts';
import { openStateFile } from '../../../broker-plugin/src/trust/state-file.ts';
import { type CapturedLog, createCapturedLog } from '../../helpers/captured-log.ts';
import {
  changesPage,
  createFeedModel,
  type FeedModel,
  feedClient,
  snapshotPage,
} from '../../helpers/feed-model.ts';
import { AUDIENCE, ISSUER, KEY, NOW, OTHER_KEY } from '../../helpers/jwts.ts';
import { ROOT, temporaryDir } from '../../helpers/processes.ts';

const ID = parseClientId('t-1');
const ids = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];

interface Opened {
  readonly replica: Replica;
  readonly keyCopies: ReturnType<typeof createKeyCopies>;
  readonly log: CapturedLog;
  close(): void;
}

function open(path: string, more: { issuer?: never; resource?: never } = {}): Opened {
  const db = openStateFile(path);
  try {
    const log = createCapturedLog();
    const keyCopies = createKeyCopies(db);
    const of = { issuer: ISSUER, resource: AUDIENCE, ...more };
    const replica = createReplica({ db, keyCopies, logger: log, ...of });
    return { replica, keyCopies, log, close: () => void db.close() };
  } catch (error) {
    db.close();
    throw error;
  }
}

const newPath = () => join(temporaryDir(), 'state.db');

const expecting = ({ position, lastIssuedAt }: Replica): FeedReader => ({
  ...{ issuer: ISSUER, resource: AUDIENCE, nonce: newFeedNonce(), position, lastIssuedAt },
});

function apply(replica: Replica, page: FeedPage, now = NOW): void {
  const step = fitFeedPage(page, { ...expecting(replica), nonce: page.nonce });
  replica.apply(page, step, now);
}

/** Reads one page of the model; returns it. */
function read(replica: Replica, model: FeedModel, limit = 3): FeedPage {
  const expected = expecting(replica);
  const page = model.answer(expected, limit);
  replica.apply(page, fitFeedPage(page, expected), NOW);
  return page;
}

function catchUp(replica: Replica, model: FeedModel): void {
  while (read(replica, model).hasMore);
}

const contentOf = (replica: Replica) =>
  ids.flatMap((id) => replica.find(parseClientId(id)) ?? []).map(({ id, scope }) => [id, scope]);
const contentOfModel = ({ clients }: FeedModel) =>
  ids.flatMap((id) => clients.get(id) ?? []).map(({ id, scope }) => [id, scope]);

test('a client comes back as the page told it, also after a restart', () => {
  const path = newPath();
  const first = open(path);
  const client = feedClient('t-1', {
    ...{ kind: 'service', mayMint: true, tokensNotBefore: 2 ** 33, scope: 'pub:a/# sub:b/%C3%BC' },
    keys: [
      { ...KEY.publicKey, notBefore: undefined, expiresAt: NOW },
      { ...OTHER_KEY.publicKey, notBefore: 0, expiresAt: undefined },
    ].map(({ kid, jwk, notBefore, expiresAt }) => ({ kid, jwk, notBefore, expiresAt })),
  });
  expect(first.replica.find(ID)).toBeUndefined();
  apply(first.replica, snapshotPage({ clients: [client] }));
  expect(first.replica.find(ID)).toEqual(client);
  first.close();
  const { replica, close } = open(path);
  expect(replica.find(ID)).toEqual(client);
  expect(replica).toMatchObject({ isWhole: true, freshAt: NOW, lastIssuedAt: NOW, size: 1 });
  expect(replica.position).toMatchObject({ at: 'changes', sequence: 9 });
  close();
});

test('before the first snapshot is whole nobody is known, and it is said so', () => {
  const { replica, close } = open(newPath());
  expect(replica).toMatchObject({ isWhole: false, freshAt: undefined, size: 0 });
  apply(replica, snapshotPage({ clients: [feedClient('t-1')], hasMore: true }));
  expect(replica.find(ID)).toBeUndefined();
  expect(replica).toMatchObject({ isWhole: false, freshAt: NOW, size: 0 });
  apply(replica, snapshotPage({ afterId: 't-1', clients: [feedClient('t-2')] }));
  expect(replica.find(ID)).toBeDefined();
  expect(replica).toMatchObject({ isWhole: true, size: 2 });
  close();
});

test('a snapshot that begins again is built beside the replica that serves', () => {
  const path = newPath();
  const { replica, close } = open(path);
  apply(replica, snapshotPage({ clients: [feedClient('t-1', { scope: 'pub:old' })] }));
  const feedId = 'b'.repeat(32);
  const clients = [feedClient('t-1', { scope: 'pub:new' })];
  apply(replica, snapshotPage({ feedId, clients, hasMore: true }));
  expect(replica.find(ID)?.scope).toBe('pub:old');
  close();
  const again = open(path);
  expect(again.replica.find(ID)?.scope).toBe('pub:old');
  expect(again.replica).toMatchObject({ isWhole: true, size: 1 });
  expect(again.replica.position).toMatchObject({ at: 'snapshot', feedId, afterId: 't-1' });
  apply(again.replica, snapshotPage({ feedId, afterId: 't-1', clients: [feedClient('t-2')] }));
  expect(again.replica.find(ID)?.scope).toBe('pub:new');
  expect(again.replica.size).toBe(2);
  again.close();
});

test('what a broken-off snapshot left behind is not in the next one', () => {
  const { replica, close } = open(newPath());
  const part = snapshotPage({ clients: [feedClient('t-1')], hasMore: true });
  apply(replica, part);
  apply(replica, snapshotPage({ feedId: 'b'.repeat(32), clients: [feedClient('t-2')] }));
  expect(replica.find(ID)).toBeUndefined();
  expect(replica.size).toBe(1);
  close();
});

test('whatever changes, restarts and breaks off, the replica is a whole state of the registry', () => {
  const step = fc.oneof(
    fc.record({
      id: fc.constantFrom(...ids),
      scope: fc.option(fc.constantFrom('pub:a', 'pub:b'), { nil: undefined }),
    }),
    fc.record({ limit: fc.integer({ min: 1, max: 4 }) }),
    fc.constantFrom('renew', 'reopen'),
  );
  const dir = temporaryDir();
  let run = 0;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      run += 1;
      const path = join(dir, `${run}.db`);
      const model = createFeedModel();
      let opened = open(path);
      for (const one of steps) {
        if (one === 'renew') model.renew();
        else if (one === 'reopen') {
          opened.close();
          opened = open(path);
        } else if ('limit' in one) read(opened.replica, model, one.limit);
        else model.change(one.id, one.scope);
      }
      catchUp(opened.replica, model);
      catchUp(opened.replica, model); // a snapshot is followed by the changes since it began
      expect(contentOf(opened.replica)).toEqual(contentOfModel(model));
      expect(opened.replica.size).toBe(model.clients.size);
      opened.close();
    }),
    { numRuns: 40 },
  );
});

test('listeners hear of changes once they are durable, of everything after a snapshot, of nothing else', () => {
  const path = newPath();
  const { replica, log, close } = open(path);
  const copy = join(temporaryDir(), 'copy.db');
  const heard: unknown[] = [];
  const broken = vi.fn(() => {
    throw new Error('broken');
  });
  replica.onChange(broken);
  const stop = replica.onChange((changed) => {
    heard.push(changed === 'all' ? changed : changed.map(({ id, status }) => [id, status]));
    for (const name of ['', '-wal']) copyFileSync(`${path}${name}`, `${copy}${name}`);
  });
  apply(replica, snapshotPage({ clients: [feedClient('t-1')], hasMore: true }));
  expect(heard).toEqual([]);
  apply(replica, snapshotPage({ afterId: 't-1', clients: [feedClient('t-2')] }));
  apply(replica, changesPage({ from: 9, to: 9 }));
  const status = 'revoked';
  const clients = [feedClient('t-1', { status }), feedClient('t-2', { status: 'deleted' })];
  apply(replica, changesPage({ from: 9, to: 12, clients }));
  expect(heard).toEqual([
    'all',
    [
      ['t-1', 'revoked'],
      ['t-2', 'deleted'],
    ],
  ]);
  const copied = open(copy);
  expect(copied.replica.find(ID)?.status).toBe('revoked');
  expect(copied.replica.size).toBe(1);
  copied.close();
  expect(broken).toHaveBeenCalledTimes(2);
  expect(log.all('feed.listener-failed')).toHaveLength(2);
  stop();
  apply(replica, changesPage({ from: 12, to: 13, clients: [feedClient('t-3')] }));
  expect(heard).toHaveLength(2);
  close();
});

test('a page that cannot be stored changes nothing', () => {
  const { replica, close } = open(newPath());
  apply(replica, snapshotPage({ clients: [feedClient('t-1')] }));
  const before = replica.position;
  const heard = vi.fn();
  replica.onChange(heard);
  const clients = [feedClient('t-2'), { ...feedClient('t-3'), tokensNotBefore: 'x' as never }];
  expect(() => apply(replica, changesPage({ from: 9, to: 10, clients }))).toThrow();
  expect(replica.position).toEqual(before);
  expect(replica.find(parseClientId('t-2'))).toBeUndefined();
  expect(replica.size).toBe(1);
  expect(heard).not.toHaveBeenCalled();
  close();
});

test.each([
  { name: 'issuer', more: { issuer: 'https://other.example' as never } },
  { name: 'resource', more: { resource: parseResourceId('mqtts://other.example') as never } },
])('a replica of another $name is refused, and it is said what to do', ({ more }) => {
  const path = newPath();
  const { replica, close } = open(path);
  apply(replica, snapshotPage({ clients: [feedClient('t-1')] }));
  close();
  expect(() => open(path, more)).toThrow(/name another file, or delete it/);
  const again = open(path);
  expect(again.replica.find(ID)).toBeDefined();
  again.close();
});

test('a page that leaves a key of the issuer out drops it for good; listing it again brings it back', () => {
  const path = newPath();
  const [one, two] = [KEY, OTHER_KEY].map((key) => importIssuerJwk('EdDSA', key.publicKey.jwk));
  const first = open(path);
  const issuerKeys = [one!, two!];
  apply(first.replica, snapshotPage({ issuerKeys }));
  expect(first.keyCopies.load(ISSUER).map(({ kid }) => kid)).toEqual([one?.kid, two?.kid]);
  apply(first.replica, changesPage({ from: 9, to: 10, issuerKeys: [two!] }));
  first.close();
  const { replica, keyCopies, close } = open(path);
  expect(keyCopies.load(ISSUER).map(({ kid }) => kid)).toEqual([two?.kid]);
  expect([one, two].map((key) => keyCopies.isDropped(key!.kid))).toEqual([true, false]);
  apply(replica, changesPage({ from: 10, to: 11, issuerKeys }));
  expect(keyCopies.isDropped(one!.kid)).toBe(false);
  close();
});

test('I11: keys of 64 issuers and 256 dropped keys are remembered, the newest', () => {
  const { keyCopies, close } = open(newPath());
  for (let i = 0; i < 70; i += 1) keyCopies.save(`https://${i}.example`, [{ kid: 'k' }], NOW + i);
  expect(keyCopies.load('https://5.example')).toEqual([]);
  expect(keyCopies.load('https://6.example')).toEqual([{ kid: 'k' }]);
  const key = importIssuerJwk('EdDSA', KEY.publicKey.jwk);
  for (let i = 0; i < 258; i += 1) {
    keyCopies.replace(ISSUER, [{ ...key, kid: `k-${i}` as never }], NOW + 100);
  }
  expect(['k-0', 'k-1', 'k-256'].map((kid) => keyCopies.isDropped(kid))).toEqual([
    false,
    true,
    true,
  ]);
  close();
});

test('10,000 clients are read with little memory, and found at once', () => {
  const { replica, close } = open(newPath());
  const key = { kid: KEY.publicKey.kid, jwk: KEY.publicKey.jwk };
  const all = Array.from({ length: 10_000 }, (_, i) =>
    feedClient(`t-${String(i).padStart(5, '0')}`, {
      scope: `pub:devices/${i}/telemetry/# sub:devices/${i}/commands/+`,
      keys: [{ ...key, notBefore: undefined, expiresAt: undefined }],
    }),
  );
  const before = process.memoryUsage().rss;
  for (let i = 0; i < 20; i += 1) {
    const clients = all.slice(i * 500, (i + 1) * 500);
    const afterId = all[i * 500 - 1]?.id ?? '';
    apply(replica, snapshotPage({ clients, afterId, hasMore: i < 19 }));
  }
  expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024);
  expect(replica.size).toBe(10_000);
  for (const client of [all[0], all[5000], all[9999]]) {
    expect(replica.find(client!.id)).toEqual(client);
  }
  close();
});

test('I10: killed at any moment, a broker goes on with a whole state and where it was', async () => {
  const path = newPath();
  const script = join(ROOT, 'test/helpers/replica-writer.mjs');
  for (let round = 0; round < 5; round += 1) {
    const child = spawn(process.execPath, [script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
    let told = 0;
    for await (const line of createInterface({ input: child.stdout })) {
      told = Number(line);
      if (told % 100 >= 7 + 11 * round) break;
    }
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'close');
    const { replica, close } = open(path);
    const { position } = replica;
    // Each page makes all clients say its number; none may be between two.
    const scopes = new Set(ids.map((id) => replica.find(parseClientId(id))?.scope ?? 'pub:nobody'));
    expect(replica.isWhole).toBe(true);
    expect(scopes.size).toBe(1);
    if (position.at === 'changes') {
      expect([...scopes]).toEqual([`pub:n/${position.sequence}`]);
      expect(position.sequence).toBeGreaterThanOrEqual(told);
    }
    close();
  }
});
