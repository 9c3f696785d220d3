import {
  createIssuerSigner,
  createKeySigner,
  FEED_CLOCK_TOLERANCE_SECONDS,
  type FeedPage,
  type FeedPosition,
  type FeedReader,
  feedQuery,
  fitFeedPage,
  generateIssuerKey,
  type IssuerKey,
  importIssuerJwk,
  MAX_FEED_PAGE_BYTES,
  MAX_FEED_PAGE_CLIENTS,
  newFeedNonce,
  parseResourceId,
  signFeedPage,
  verifyFeedPage,
} from '@latchkey/shared';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type CborTag, type CborValue, decodeCbor, encodeCbor } from '../../shared/src/cbor.ts';
import { signCose } from '../../shared/src/cose.ts';
import {
  changesPage,
  createFeedModel,
  FEED,
  feedClient,
  NONCE,
  snapshotPage,
} from '../helpers/feed-model.ts';
import { createMemoryReader } from '../helpers/feed-reader.ts';
import { AUDIENCE, ISSUER, KEY, NOW, OTHER_KEY } from '../helpers/jwts.ts';

const TYP = 'application/latchkey-feed+cbor';
const signer = createKeySigner(KEY);
const issuerKey: IssuerKey = importIssuerJwk('EdDSA', KEY.publicKey.jwk);
const find = (kid: string) => (kid === issuerKey.kid ? issuerKey : undefined);

const at = {
  start: { at: 'start' },
  snapshot: { at: 'snapshot', feedId: FEED, sequence: 7, afterId: 'm' },
  changes: { at: 'changes', feedId: FEED, sequence: 5 },
} as const satisfies Record<string, FeedPosition>;
const reader = (more: Partial<FeedReader> = {}): FeedReader => ({
  ...{ issuer: ISSUER, resource: AUDIENCE, nonce: NONCE, position: at.changes, lastIssuedAt: NOW },
  ...more,
});

describe('a page on the wire', () => {
  const FULL = feedClient('t-1', {
    ...{ kind: 'service', mayMint: true, tokensNotBefore: 2 ** 33 },
    keys: [
      { kid: KEY.publicKey.kid, jwk: KEY.publicKey.jwk, notBefore: undefined, expiresAt: NOW },
      {
        kid: OTHER_KEY.publicKey.kid,
        jwk: OTHER_KEY.publicKey.jwk,
        notBefore: 0,
        expiresAt: undefined,
      },
    ],
    scope: 'pub:a/# sub:b/%C3%BC',
  });

  test('comes back as it was', async () => {
    const others = await Promise.all(
      (['Ed25519', 'ES256', 'RS256'] as const).map(generateIssuerKey),
    );
    const issuerKeys = [issuerKey, ...others.map(({ publicKey }) => publicKey)];
    const clients = [
      FULL,
      feedClient('t-2', { status: 'suspended' }),
      feedClient('t-3', { status: 'revoked' }),
      feedClient('t-4', { status: 'deleted' }),
    ];
    const to = Number.MAX_SAFE_INTEGER;
    const sent = changesPage({ issuerKeys, clients, to, hasMore: true });
    const seen = await verifyFeedPage(await signFeedPage(signer, sent), find);
    const plain = (keys: readonly IssuerKey[]) =>
      keys.map(({ kid, alg, jwk }) => ({ kid, alg, jwk }));
    expect({ ...seen, issuerKeys: plain(seen.issuerKeys) }).toEqual({
      ...sent,
      issuerKeys: plain(issuerKeys),
    });
  });

  test('with 1000 clients is far smaller than the bound', async () => {
    const clients = Array.from({ length: MAX_FEED_PAGE_CLIENTS }, (_, i) =>
      feedClient(`client-${String(i).padStart(5, '0')}`, {
        keys: FULL.keys.slice(0, 1),
        scope: FULL.scope,
      }),
    );
    const message = await signFeedPage(signer, snapshotPage({ clients }));
    expect(message.length).toBeLessThan(MAX_FEED_PAGE_BYTES / 50);
    expect((await verifyFeedPage(message, find)).clients).toHaveLength(MAX_FEED_PAGE_CLIENTS);
  });

  test('is signed by an issuer key, here or in a KMS', async () => {
    const key = await generateIssuerKey('EdDSA');
    const message = await signFeedPage(createIssuerSigner(key), changesPage());
    expect(await verifyFeedPage(message, () => key.publicKey)).toEqual(changesPage());
  });

  test('is refused when it is too large, before anything is read', async () => {
    const refused = verifyFeedPage(Buffer.alloc(MAX_FEED_PAGE_BYTES + 1), find);
    await expect(refused).rejects.toMatchObject({ name: 'FeedError', reason: 'malformed' });
    const read = verifyFeedPage(Buffer.alloc(MAX_FEED_PAGE_BYTES), find);
    await expect(read).rejects.toMatchObject({ name: 'CoseError', reason: 'malformed' });
  });

  test('is refused when an unknown key signed it', async () => {
    const message = await signFeedPage(createKeySigner(OTHER_KEY), changesPage());
    await expect(verifyFeedPage(message, find)).rejects.toMatchObject({ reason: 'key' });
  });

  test('is refused with any byte changed', async () => {
    const good = await signFeedPage(
      signer,
      changesPage({ clients: [FULL], issuerKeys: [issuerKey] }),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: good.length - 1 }),
        fc.integer({ min: 1, max: 255 }),
        async (index, flip) => {
          const bad = Buffer.from(good);
          bad[index] = (bad[index] as number) ^ flip;
          await expect(verifyFeedPage(bad, find)).rejects.toMatchObject({ name: 'CoseError' });
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('a page that the issuer signed is refused', () => {
  /** Content of a good page as CBOR, with one place replaced. */
  async function withPlace(place: number, value: CborValue, sent = changesPage()): Promise<Buffer> {
    const message = decodeCbor(await signFeedPage(signer, sent)) as CborTag;
    const [, , payload] = message.value as readonly CborValue[];
    const content = [...(decodeCbor(payload as Uint8Array) as CborValue[])];
    content[place] = value;
    return signCose(signer, TYP, encodeCbor(content));
  }
  const x = Buffer.from(KEY.publicKey.jwk.x, 'base64url');
  const row: readonly CborValue[] = ['t-1', 0, 0, false, 0, [[x, null, null]], ''];
  const rowWith = (place: number, value: CborValue) => [
    row.map((old, i) => (i === place ? value : old)),
  ];
  const okp = ['Ed25519', 'OKP', KEY.publicKey.jwk.x];

  test.each<{ name: string; place: number; value: CborValue }>([
    { name: 'of another version', place: 0, value: 2 },
    { name: 'with a version of text', place: 0, value: '1' },
    { name: 'of an issuer that is no URL', place: 1, value: 'x' },
    { name: 'for a resource that is no URI', place: 2, value: 'x' },
    { name: 'with an empty feed id', place: 3, value: '' },
    { name: 'with a feed id of 65 characters', place: 3, value: 'a'.repeat(65) },
    { name: 'of an unknown kind', place: 4, value: 2 },
    { name: 'of kind -1', place: 4, value: -1 },
    { name: 'with a kind of text', place: 4, value: 'changes' },
    { name: 'with a negative from', place: 5, value: -1 },
    { name: 'with from as text', place: 5, value: '5' },
    { name: 'that leads backwards', place: 6, value: 4 },
    { name: 'with afterId in changes', place: 7, value: 'a' },
    { name: 'with afterId of 65 characters', place: 7, value: 'a'.repeat(65) },
    { name: 'with hasMore as a number', place: 8, value: 1 },
    { name: 'with a negative issuedAt', place: 9, value: -1 },
    { name: 'with issuedAt after the year 9999', place: 9, value: 253_402_300_800 },
    { name: 'with a nonce of bytes', place: 10, value: x },
    { name: 'with a nonce of 129 characters', place: 10, value: 'a'.repeat(129) },
    { name: 'with issuer keys as a map', place: 11, value: new Map() },
    { name: 'with an issuer key of an unknown algorithm', place: 11, value: [[4, okp]] },
    { name: 'with an issuer key of another kind', place: 11, value: [[2, okp]] },
    { name: 'with an issuer key that lacks a member', place: 11, value: [[0, okp.slice(1)]] },
    { name: 'with a weak issuer key', place: 11, value: [[0, ['Ed25519', 'OKP', 'A'.repeat(43)]]] },
    { name: 'with a member too many', place: 11, value: [[0, [...okp, 'x']]] },
    { name: 'with 65 issuer keys', place: 11, value: Array.from({ length: 65 }, () => [0, okp]) },
    { name: 'with a client that is no array', place: 12, value: ['t-1'] },
    { name: 'with a client that lacks a member', place: 12, value: [row.slice(0, 6)] },
    { name: 'with a client with a member too many', place: 12, value: [[...row, 0]] },
    { name: 'with a malformed client id', place: 12, value: rowWith(0, 't/1') },
    { name: 'with a client of an unknown kind', place: 12, value: rowWith(1, 2) },
    { name: 'with a client of an unknown status', place: 12, value: rowWith(2, 4) },
    { name: 'with mayMint as a number', place: 12, value: rowWith(3, 1) },
    { name: 'with tokensNotBefore null', place: 12, value: rowWith(4, null) },
    { name: 'with a key of 31 bytes', place: 12, value: rowWith(5, [[x.subarray(1), null, null]]) },
    {
      name: 'with a key of text',
      place: 12,
      value: rowWith(5, [[KEY.publicKey.jwk.x, null, null]]),
    },
    { name: 'with a key that lacks a member', place: 12, value: rowWith(5, [[x, null]]) },
    { name: 'with a negative expiry', place: 12, value: rowWith(5, [[x, null, -1]]) },
    {
      name: 'with 65 keys',
      place: 12,
      value: rowWith(
        5,
        Array.from({ length: 65 }, () => [x, null, null]),
      ),
    },
    { name: 'with a scope of bytes', place: 12, value: rowWith(6, x) },
    { name: 'with a scope that is too long', place: 12, value: rowWith(6, 'a'.repeat(65_537)) },
    { name: 'with a client twice', place: 12, value: [row, row] },
    {
      name: 'with 1001 clients',
      place: 12,
      value: Array.from({ length: 1001 }, (_, i) => [`c${i}`, ...row.slice(1)]),
    },
    { name: 'with a place too many', place: 13, value: 0 },
  ])('$name', async ({ place, value }) => {
    const refused = verifyFeedPage(await withPlace(place, value), find);
    await expect(refused).rejects.toMatchObject({ name: 'FeedError', reason: 'malformed' });
  });

  test('the place that is wrong is told, its value is not', async () => {
    const message = await withPlace(12, rowWith(0, 't/1'));
    await expect(verifyFeedPage(message, find)).rejects.toThrow(
      'the payload is not a page: 12.0.0',
    );
    await expect(verifyFeedPage(await signCose(signer, TYP, encodeCbor(1)), find)).rejects.toThrow(
      /is not a page: $/,
    );
  });

  test.each<{ name: string; sent: FeedPage }>([
    { name: 'a snapshot that begins later', sent: snapshotPage({ from: 1 }) },
    { name: 'an empty snapshot page that promises more', sent: snapshotPage({ hasMore: true }) },
    {
      name: 'a snapshot out of order',
      sent: snapshotPage({ clients: [feedClient('b'), feedClient('a')] }),
    },
    {
      name: 'a snapshot with a client twice',
      sent: snapshotPage({ clients: [feedClient('a'), feedClient('a')] }),
    },
    {
      name: 'a snapshot that goes back',
      sent: snapshotPage({ afterId: 'b', clients: [feedClient('b')] }),
    },
    {
      name: 'a snapshot with a deleted client',
      sent: snapshotPage({ clients: [feedClient('a', { status: 'deleted' })] }),
    },
    {
      name: 'changes that lead nowhere and promise more',
      sent: changesPage({ to: 5, hasMore: true }),
    },
    {
      name: 'changes at the sequence that the reader has',
      sent: changesPage({ to: 5, clients: [feedClient('a')] }),
    },
  ])('$name', async ({ sent }) => {
    const refused = verifyFeedPage(await signFeedPage(signer, sent), find);
    await expect(refused).rejects.toMatchObject({ name: 'FeedError', reason: 'malformed' });
  });

  test('when the payload is not in deterministic encoding', async () => {
    const message = await signCose(signer, TYP, Buffer.from('9f01ff', 'hex'));
    await expect(verifyFeedPage(message, find)).rejects.toMatchObject({ reason: 'malformed' });
  });

  test('when it was signed as something else', async () => {
    const message = await signCose(signer, 'application/other+cbor', encodeCbor([]));
    await expect(verifyFeedPage(message, find)).rejects.toMatchObject({ reason: 'type' });
  });
});

describe('fitFeedPage', () => {
  const whole = { at: 'changes', feedId: FEED } as const;
  const clients = [feedClient('n'), feedClient('p')];

  test.each<{
    name: string;
    page: FeedPage;
    position: FeedPosition;
    isRestart: boolean;
    next: FeedPosition;
  }>([
    {
      name: 'a snapshot in one page',
      ...{
        page: snapshotPage(),
        position: at.start,
        isRestart: true,
        next: { ...whole, sequence: 9 },
      },
    },
    {
      name: 'the first of several pages',
      ...{ page: snapshotPage({ hasMore: true, clients }), position: at.start, isRestart: true },
      next: { at: 'snapshot', feedId: FEED, sequence: 9, afterId: 'p' },
    },
    {
      name: 'a page in the middle keeps the sequence of the first',
      ...{
        page: snapshotPage({ afterId: 'm', hasMore: true, clients }),
        position: at.snapshot,
        isRestart: false,
      },
      next: { at: 'snapshot', feedId: FEED, sequence: 7, afterId: 'p' },
    },
    {
      name: 'the last page, empty',
      ...{ page: snapshotPage({ afterId: 'm' }), position: at.snapshot, isRestart: false },
      next: { ...whole, sequence: 7 },
    },
    {
      name: 'a snapshot of another feed instead of changes',
      ...{ page: snapshotPage({ feedId: 'b' }), position: at.changes, isRestart: true },
      next: { at: 'changes', feedId: 'b', sequence: 9 },
    },
    {
      name: 'a new snapshot in the middle of one',
      ...{ page: snapshotPage({ to: 7 }), position: at.snapshot, isRestart: true },
      next: { ...whole, sequence: 7 },
    },
    {
      name: 'changes',
      ...{ page: changesPage({ clients }), position: at.changes, isRestart: false },
      next: { ...whole, sequence: 9 },
    },
    {
      name: 'no changes',
      ...{ page: changesPage({ to: 5 }), position: at.changes, isRestart: false },
      next: { ...whole, sequence: 5 },
    },
  ])('$name', ({ page: seen, position, isRestart, next }) => {
    expect(fitFeedPage(seen, reader({ position }))).toEqual({ isRestart, position: next });
  });

  test.each<{ name: string; page: FeedPage; reader?: Partial<FeedReader>; reason: string }>([
    {
      name: 'another issuer',
      page: changesPage(),
      reader: { issuer: 'https://other.example' as never },
      reason: 'issuer',
    },
    {
      name: 'another resource',
      page: changesPage(),
      reader: { resource: parseResourceId('mqtts://other.example') },
      reason: 'resource',
    },
    { name: 'a replay', page: changesPage(), reader: { nonce: newFeedNonce() }, reason: 'nonce' },
    {
      name: 'a replayed snapshot',
      page: snapshotPage(),
      reader: { nonce: newFeedNonce() },
      reason: 'nonce',
    },
    { name: 'another feed', page: changesPage({ feedId: 'b' }), reason: 'feed-id' },
    { name: 'a gap', page: changesPage({ from: 6 }), reason: 'gap' },
    { name: 'changes that were applied', page: changesPage({ from: 4 }), reason: 'stale' },
    {
      name: 'changes at the start',
      page: changesPage(),
      reader: { position: at.start },
      reason: 'gap',
    },
    {
      name: 'changes within a snapshot',
      page: changesPage(),
      reader: { position: at.snapshot },
      reason: 'gap',
    },
    {
      name: 'the middle of a snapshot at the start',
      page: snapshotPage({ afterId: 'm' }),
      reader: { position: at.start },
      reason: 'gap',
    },
    {
      name: 'the middle of a snapshot after it',
      page: snapshotPage({ afterId: 'm' }),
      reason: 'gap',
    },
    {
      name: 'the middle of a snapshot of another feed',
      page: snapshotPage({ afterId: 'm', feedId: 'b' }),
      reader: { position: at.snapshot },
      reason: 'feed-id',
    },
    {
      name: 'another place of the snapshot',
      page: snapshotPage({ afterId: 'k' }),
      reader: { position: at.snapshot },
      reason: 'gap',
    },
    {
      name: 'a snapshot page of before its start',
      page: snapshotPage({ afterId: 'm', to: 6 }),
      reader: { position: at.snapshot },
      reason: 'stale',
    },
    {
      name: 'a new snapshot of before what the reader has, in the same history',
      page: snapshotPage({ to: 4 }),
      reason: 'rollback',
    },
    {
      name: 'a new snapshot of before the one that is being read',
      page: snapshotPage({ to: 6 }),
      reader: { position: at.snapshot },
      reason: 'rollback',
    },
    {
      name: 'an empty page that promises more',
      page: snapshotPage({ hasMore: true }),
      reader: { position: at.start },
      reason: 'malformed',
    },
  ])('refuses $name', ({ page: seen, reader: more, reason }) => {
    expect(() => fitFeedPage(seen, reader(more))).toThrow(
      expect.objectContaining({ name: 'FeedError', reason }),
    );
  });

  test('refuses a page that is older than the last one by more than clocks are set back', () => {
    const lastIssuedAt = NOW + FEED_CLOCK_TOLERANCE_SECONDS;
    expect(() => fitFeedPage(changesPage(), reader({ lastIssuedAt }))).not.toThrow();
    expect(() => fitFeedPage(changesPage(), reader({ lastIssuedAt: lastIssuedAt + 1 }))).toThrow(
      expect.objectContaining({ reason: 'stale' }),
    );
  });
});

test.each<{ position: FeedPosition; wait?: number; query: string }>([
  { position: at.start, query: 'after=0' },
  { position: at.snapshot, query: `after=0&feed_id=${FEED}&snapshot_after=m` },
  { position: at.changes, wait: 30, query: `after=5&feed_id=${FEED}&wait=30` },
])('feedQuery asks for $query', ({ position, wait, query }) => {
  const expected = new URLSearchParams(
    `${query}&resource=${encodeURIComponent(AUDIENCE)}&nonce=${NONCE}`,
  );
  const made = feedQuery({ resource: AUDIENCE, nonce: NONCE, position }, wait);
  expect(Object.fromEntries(made)).toEqual(Object.fromEntries(expected));
});

test('a nonce is 128 random bits', () => {
  const nonces = Array.from({ length: 100 }, newFeedNonce);
  expect(new Set(nonces).size).toBe(100);
  for (const nonce of nonces) expect(nonce).toMatch(/^[A-Za-z0-9_-]{22}$/);
});

test('whatever changes in between, and however it is cut into pages, the replica is the registry', () => {
  const change = fc.record({
    id: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g'),
    scope: fc.option(fc.constantFrom('pub:a', 'pub:b'), { nil: undefined }),
  });
  const read = fc.record({ limit: fc.integer({ min: 1, max: 4 }) });
  fc.assert(
    fc.property(fc.array(fc.oneof(change, read), { maxLength: 60 }), (steps) => {
      const model = createFeedModel();
      const memory = createMemoryReader(ISSUER, AUDIENCE);
      const readPage = (limit: number) => {
        const expected = memory.expecting();
        const answer = model.answer(expected, limit);
        memory.apply(answer, expected);
        // The same page does not fit a second time, nor one meant for another request.
        expect(() => memory.apply(answer, memory.expecting())).toThrow(
          expect.objectContaining({ reason: 'nonce' }),
        );
        return answer;
      };
      for (const step of steps) {
        if ('limit' in step) readPage(step.limit);
        else model.change(step.id, step.scope);
      }
      while (memory.position.at !== 'changes' || memory.position.sequence < model.sequence)
        readPage(3);
      expect(new Map(memory.replica)).toEqual(model.clients);
    }),
  );
});
