/**
 * What every implementation of `FeedStore` must do.
 *
 * @module
 */
import type { Registry } from '@latchkey/authority';
import {
  generateKey,
  parseClientId,
  parsePermissionName,
  parseResourceId,
  parseRoleName,
} from '@latchkey/shared';
import { describe, expect, test, vi } from 'vitest';
import { createDrivenClock, type DrivenClock } from './driven-clock.ts';
import type { OpenRegistry } from './registry-contract.ts';

const BROKER = parseResourceId('mqtts://broker.example');
const OTHER = parseResourceId('mqtts://other.example');
const ONE = parseRoleName('one');
const BOTH = parseRoleName('both');
const LIMIT = 100;

async function fill(registry: Registry): Promise<void> {
  const create = async (name: string, resource: typeof BROKER, scope: string) => {
    const permission = parsePermissionName(name);
    await registry.createPermission({ name: permission, resource, scopes: [scope] });
    return permission;
  };
  for (const identifier of [BROKER, OTHER]) {
    await registry.createResource({ identifier, kind: 'mqtt', tokenTtlSeconds: 900 });
  }
  const a = await create('a', BROKER, 'pub:{labels.site}/a');
  const b = await create('b', BROKER, 'pub:{client_id}/b');
  const c = await create('c', OTHER, 'pub:{client_id}/c');
  await registry.createRole({ name: ONE, permissions: [b, a] });
  await registry.createRole({ name: BOTH, permissions: [c, b] });
}

/** Declares the suite; `open` makes an empty registry that ends with the test. */
export function describeFeedStore(
  name: string,
  open: (clock: DrivenClock) => Promise<OpenRegistry>,
): void {
  const setup = async () => {
    const opened = await open(createDrivenClock());
    const { registry } = opened;
    await fill(registry);
    const add = (id: string, roles = [ONE]) =>
      registry.createClient({
        ...{ id: parseClientId(id), kind: 'device', roles, key: generateKey().publicKey },
        labels: new Map([['site', 'berlin']]),
      });
    const changes = (after: number, limit = LIMIT, resource = BROKER) =>
      registry.feedChanges({ resource, after, limit });
    return { ...opened, add, changes };
  };

  describe(`${name}: the feed`, () => {
    test('has a name that stays, and a sequence that grows with every change', async () => {
      const { registry, reopen, add } = await setup();
      const first = await registry.feedMark();
      expect(first.sequence).toBeGreaterThanOrEqual(1);
      await add('t-1');
      const second = await registry.feedMark();
      expect(second.sequence).toBeGreaterThan(first.sequence);
      await registry.setClientStatus(parseClientId('t-1'), 'suspended');
      const again = await reopen();
      const third = await again.feedMark();
      expect(third.sequence).toBeGreaterThan(second.sequence);
      expect(third.feedId).toBe(first.feedId);
    });

    test('never gives a sequence twice, also when the newest client is the one that changes', async () => {
      const { registry, add, changes } = await setup();
      await add('t-1');
      const seen = new Set<number>();
      for (let i = 0; i < 5; i += 1) {
        const { sequence } = await registry.feedMark();
        expect(seen.has(sequence)).toBe(false);
        seen.add(sequence);
        const status = i % 2 === 0 ? 'suspended' : 'active';
        await registry.setClientStatus(parseClientId('t-1'), status);
        expect((await changes(sequence)).entries).toHaveLength(1);
      }
    });

    test('gives the permissions at one resource, each once and in order, of whatever role', async () => {
      const { registry, add } = await setup();
      await add('t-1', [BOTH, ONE]);
      const at = async (resource: typeof BROKER) => {
        const slice = await registry.feedSnapshot({ resource, afterId: '', limit: LIMIT });
        return slice.entries.find(({ id }) => id === 't-1');
      };
      expect(await at(BROKER)).toMatchObject({
        ...{ kind: 'device', status: 'active', mayMint: false, tokensNotBefore: 0, sequence: 0 },
        labels: new Map([['site', 'berlin']]),
        permissions: [
          { name: 'a', scopes: ['pub:{labels.site}/a'] },
          { name: 'b', scopes: ['pub:{client_id}/b'] },
        ],
      });
      expect((await at(OTHER))?.permissions.map((permission) => permission.name)).toEqual(['c']);
    });

    test('cuts a snapshot in the order of ids, without a gap and without a repetition', async () => {
      const { registry, add } = await setup();
      for (const id of ['b', 'B', 'a-1', 'a.1', 'a', '1', 'a1']) await add(id);
      const ids: string[] = [];
      for (let afterId = ''; ; ) {
        const slice = await registry.feedSnapshot({ resource: BROKER, afterId, limit: 2 });
        expect(slice.to).toBe((await registry.feedMark()).sequence);
        ids.push(...slice.entries.map(({ id }) => id));
        afterId = ids.at(-1) as string;
        if (!slice.hasMore) break;
      }
      expect(ids).toEqual(['1', 'B', 'a', 'a-1', 'a.1', 'a1', 'b']);
    });

    test('tells of each changed client once, in the order of the newest changes', async () => {
      const { registry, add, changes } = await setup();
      for (const id of ['t-1', 't-2', 't-3']) await add(id);
      const { sequence } = await registry.feedMark();
      await registry.setClientStatus(parseClientId('t-3'), 'suspended');
      await registry.setClientStatus(parseClientId('t-1'), 'suspended');
      await registry.deleteClient(parseClientId('t-2'));
      await registry.setClientStatus(parseClientId('t-3'), 'active');
      const whole = await changes(sequence);
      expect(whole.entries.map(({ id, status }) => [id, status])).toEqual([
        ['t-1', 'suspended'],
        ['t-2', 'deleted'],
        ['t-3', 'active'],
      ]);
      expect(whole).toMatchObject({ hasMore: false, to: whole.mark.sequence });
      const part = await changes(sequence, 2);
      expect(part).toMatchObject({ hasMore: true, to: part.entries[1]?.sequence });
      const rest = await changes(part.to, 2);
      expect(rest.entries.map(({ id }) => id)).toEqual(['t-3']);
      expect((await changes(rest.to)).entries).toEqual([]);
    });

    test('gives no keys and no permissions of whoever is not active', async () => {
      const { registry, add, changes } = await setup();
      await add('t-1');
      await registry.patchClient(parseClientId('t-1'), { mayMint: true });
      for (const status of ['suspended', 'revoked'] as const) {
        const { sequence } = await registry.feedMark();
        await registry.setClientStatus(parseClientId('t-1'), status);
        expect((await changes(sequence)).entries).toMatchObject([
          { status, mayMint: false, keys: [], permissions: [] },
        ]);
      }
    });

    test('begins another history when it is renewed', async () => {
      const { registry, reopen } = await setup();
      const before = await registry.feedMark();
      await registry.renewFeed();
      const after = await (await reopen()).feedMark();
      expect(after.feedId).not.toBe(before.feedId);
      expect(after.sequence).toBe(before.sequence);
    });

    test('calls who listens soon after a change, and not after one that did not happen', async () => {
      const { registry, add } = await setup();
      const listener = vi.fn();
      const stop = registry.onFeedChange(listener);
      const turn = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
      await add('t-1');
      await turn();
      expect(listener).toHaveBeenCalledTimes(1);
      await registry.client(parseClientId('t-1'));
      await expect(registry.deleteClient(parseClientId('t-2'))).rejects.toThrow();
      await turn();
      expect(listener).toHaveBeenCalledTimes(1);
      stop();
      await registry.deleteClient(parseClientId('t-1'));
      await turn();
      expect(listener).toHaveBeenCalledTimes(1);
    });
  });
}
