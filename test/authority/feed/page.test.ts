import type { FeedEntry, FeedSlice } from '@latchkey/authority';
import {
  generateKey,
  MAX_FEED_CLIENT_KEYS,
  MAX_FEED_PAGE_BYTES,
  MAX_SCOPE_LENGTH,
  parseClientId,
  parsePermissionName,
} from '@latchkey/shared';
import { expect, test } from 'vitest';
import { toPageContent } from '../../../authority/src/feed/page.ts';

const KEY = generateKey().publicKey;
const permission = (name: string, scopes: readonly string[]) => ({
  name: parsePermissionName(name),
  scopes,
});
const entry = (sequence: number, more: Partial<FeedEntry> = {}): FeedEntry => ({
  ...{ id: parseClientId(`t-${sequence}`), kind: 'device', status: 'active', mayMint: false },
  ...{ tokensNotBefore: 0, keys: [], labels: new Map(), permissions: [], sequence },
  ...more,
});
const slice = (entries: readonly FeedEntry[], more: Partial<FeedSlice> = {}): FeedSlice => ({
  mark: { feedId: 'a', sequence: 1000 },
  ...{ entries, to: 1000, hasMore: false },
  ...more,
});
/** Scopes that take about so many characters. */
const scopesOf = (characters: number) =>
  Array.from({ length: characters / 100 }, (_, i) => `pub:${String(i).padStart(95, '0')}`);

test('a permission whose label is missing is not granted, and takes nothing else away', () => {
  const permissions = [permission('a', ['pub:{labels.site}/#']), permission('b', ['sub:x'])];
  const { clients } = toPageContent(slice([entry(1, { permissions })]));
  expect(clients[0]?.scope).toBe('sub:x');
});

test('plain scopes stand for themselves', () => {
  const { clients } = toPageContent(slice([entry(1, { permissions: [permission('orders', [])] })]));
  expect(clients[0]?.scope).toBe('orders');
});

test('what fits is told as it is', () => {
  const content = toPageContent(slice([entry(1), entry(2)], { hasMore: true, to: 2 }));
  expect(content).toMatchObject({ to: 2, hasMore: true, clients: [{ id: 't-1' }, { id: 't-2' }] });
});

test('a page that would be too large ends before, at the sequence of its last client', () => {
  const permissions = [permission('a', scopesOf(60_000))];
  const entries = Array.from({ length: 200 }, (_, i) => entry(i + 1, { permissions }));
  const { clients, to, hasMore } = toPageContent(slice(entries));
  expect(clients.length).toBeLessThan(200);
  expect(clients.length * 60_000).toBeGreaterThan(MAX_FEED_PAGE_BYTES / 3);
  expect([to, hasMore]).toEqual([clients.length, true]);
  const snapshot = toPageContent(slice(entries.map((one) => ({ ...one, sequence: 0 }))));
  expect([snapshot.to, snapshot.hasMore]).toEqual([1000, true]);
});

test('rights that are too long to be written are none: tokens that name a part still verify', () => {
  const permissions = [permission('a', scopesOf(MAX_SCOPE_LENGTH + 200))];
  expect(toPageContent(slice([entry(1, { permissions })])).clients[0]?.scope).toBe('');
});

test('of more keys than a page may carry it tells the newest', () => {
  const key = (notBefore: number) => ({
    ...{ kid: KEY.kid, jwk: KEY.jwk, notBefore, expiresAt: undefined },
  });
  const keys = Array.from({ length: MAX_FEED_CLIENT_KEYS + 1 }, (_, i) => key(i));
  const { clients } = toPageContent(slice([entry(1, { keys })]));
  expect(clients[0]?.keys).toEqual(keys.slice(1));
});
