/** The audit log in SQLite: append-only, bounded to read, cut off by age and verifiable all the same. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cutOldEvents, openSqliteRegistry } from '@latchkey/authority';
import SqliteDatabase from 'better-sqlite3';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { allEvents, faultOf, tokenEvent } from '../../helpers/audit-events.ts';
import { createDrivenClock } from '../../helpers/driven-clock.ts';
import { temporaryDir } from '../../helpers/processes.ts';

const DAY_MS = 86_400_000;

function setup() {
  const path = join(temporaryDir(), 'registry.sqlite');
  writeFileSync(path, '');
  const clock = createDrivenClock();
  const registry = openSqliteRegistry({ path, clock });
  onTestFinished(() => registry.close());
  /** As whoever can write the file, without the program. */
  const sql = (text: string) => {
    const db = new SqliteDatabase(path);
    try {
      return db.exec(text);
    } finally {
      db.close();
    }
  };
  const record = (count: number) =>
    Promise.all(
      Array.from({ length: count }, (_, i) => registry.recordEvent(tokenEvent({ jti: `j-${i}` }))),
    );
  return { path, clock, registry, sql, record };
}

describe('events', () => {
  test('are in the order in which they were recorded, with everything that was said', async () => {
    const { registry, record, clock } = setup();
    await record(250);
    const full = tokenEvent({ outcome: 'refused', kid: 'k', detail: 'invalid_grant: ü' });
    await registry.recordEvent(full);
    const found = await allEvents(registry, {}, 7);
    expect(found.map(({ sequence }) => sequence)).toEqual(
      Array.from({ length: 251 }, (_, i) => i + 1),
    );
    expect(found.slice(0, 250).map(({ jti }) => jti)).toEqual(
      Array.from({ length: 250 }, (_, i) => `j-${i}`),
    );
    expect(found.at(-1)).toMatchObject({ ...full, at: clock.now(), jti: undefined });
    expect(await faultOf(registry)).toBeUndefined();
  });

  test.each([
    { name: 'changed', text: "UPDATE audit_event SET detail = 'x' WHERE sequence = 2" },
    { name: 'removed', text: 'DELETE FROM audit_event WHERE sequence = 3' },
    { name: 'all removed', text: 'DELETE FROM audit_event' },
    {
      name: 'replaced',
      text: "INSERT OR REPLACE INTO audit_event SELECT sequence, at, type, actor, action, target, 'refused', client_id, jti, kid, address, detail, previous_hash, hash FROM audit_event WHERE sequence = 2",
    },
    {
      name: 'inserted',
      text: "INSERT INTO audit_event (sequence, at, type, action, outcome, previous_hash, hash) VALUES (0, 0, 'token', 'issue', 'ok', '', '')",
    },
    {
      name: 'cut off with another hash',
      text: "UPDATE audit_checkpoint SET sequence = 2, hash = 'x'",
    },
    {
      name: 'cut off before the beginning',
      text: 'UPDATE audit_checkpoint SET sequence = 0',
    },
    { name: 'without their checkpoint', text: 'DELETE FROM audit_checkpoint' },
  ])('are never $name by SQL', async ({ text }) => {
    const { registry, record, sql } = setup();
    await record(3);
    const before = await allEvents(registry);
    expect(() => sql(text)).toThrow(/audit/);
    expect(await allEvents(registry)).toEqual(before);
    expect(await faultOf(registry)).toBeUndefined();
  });

  test.each([
    {
      name: 'changes one',
      text: "DROP TRIGGER audit_event_is_never_changed; UPDATE audit_event SET outcome = 'refused' WHERE sequence = 2",
      sequence: 2,
    },
    {
      name: 'removes one',
      text: 'DROP TRIGGER audit_event_stays; DELETE FROM audit_event WHERE sequence = 2',
      sequence: 3,
    },
    {
      name: 'removes the last',
      text: 'DROP TRIGGER audit_event_stays; DELETE FROM audit_event WHERE sequence = 5',
      sequence: 4,
    },
    {
      name: 'cuts off the beginning without saying so',
      text: 'UPDATE audit_checkpoint SET sequence = 2, hash = (SELECT hash FROM audit_event WHERE sequence = 2); DELETE FROM audit_event WHERE sequence <= 2',
      sequence: 2,
    },
  ])('show that somebody $name behind the back of the triggers', async ({ text, sequence }) => {
    const { registry, record, sql } = setup();
    await record(5);
    sql(text);
    expect(await faultOf(registry)).toMatchObject({ sequence });
  });

  test('are found by client, type, outcome and time, in either direction, whatever the page', async () => {
    const { registry, clock } = setup();
    const kinds = fc.record({
      clientId: fc.constantFrom('t-1', 't-2', undefined),
      type: fc.constantFrom('token' as const, 'management' as const),
      outcome: fc.constantFrom('ok' as const, 'refused' as const),
      waitMs: fc.constantFrom(0, 1000, 5000),
    });
    for (const { waitMs, ...event } of fc.sample(kinds, { numRuns: 60, seed: 1 })) {
      await clock.advance(waitMs);
      await registry.recordEvent(tokenEvent(event));
    }
    const all = await allEvents(registry);
    const times = [undefined, ...all.map(({ at }) => at), clock.now() + 1];
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          clientId: fc.constantFrom('t-1', 't-2', 'nobody', undefined),
          type: fc.constantFrom('token' as const, undefined),
          outcome: fc.constantFrom('refused' as const, undefined),
          since: fc.constantFrom(...times),
        }),
        fc.integer({ min: 1, max: 70 }),
        fc.boolean(),
        async (filter, limit, isNewestFirst) => {
          const expected = all.filter(
            (event) =>
              (filter.clientId === undefined || event.clientId === filter.clientId) &&
              (filter.type === undefined || event.type === filter.type) &&
              (filter.outcome === undefined || event.outcome === filter.outcome) &&
              (filter.since === undefined || event.at >= filter.since),
          );
          const seen = [];
          let after: string | undefined;
          do {
            const page = await registry.listEvents(filter, { limit, after, isNewestFirst });
            expect(page.items.length).toBeLessThanOrEqual(limit);
            seen.push(...page.items);
            after = page.next;
          } while (after !== undefined);
          expect(isNewestFirst ? seen.reverse() : seen).toEqual(expected);
        },
      ),
    );
  });

  test('that are rare are found although a page looks at a bounded part of the log', async () => {
    const { registry, record } = setup();
    await registry.recordEvent(tokenEvent({ clientId: 'rare' }));
    for (let i = 0; i < 5; i += 1) await record(9000);
    await registry.recordEvent(tokenEvent({ clientId: 'rare' }));
    const first = await registry.listEvents({ clientId: 'rare' }, { limit: 10, after: undefined });
    expect(first.items).toHaveLength(1);
    expect(first.next).toBeDefined();
    expect((await allEvents(registry, { clientId: 'rare' })).map((e) => e.sequence)).toEqual([
      1, 45_002,
    ]);
  });
});

describe('retention', () => {
  test('cuts off what is older than it says, to the second, and the chain stays whole', async () => {
    const { registry, record, clock } = setup();
    await record(3);
    await clock.advance(1000);
    await record(2);
    const keep = (days: number) => cutOldEvents({ log: registry, days, clock });
    await clock.advance(10 * DAY_MS - 1000);
    expect(await keep(10)).toBe(0);
    await clock.advance(1000);
    expect(await keep(10)).toBe(3);
    const left = await allEvents(registry);
    expect(left.map(({ sequence }) => sequence)).toEqual([4, 5, 6]);
    expect(left.at(-1)).toMatchObject({ type: 'audit', action: 'cut', actor: 'authority' });
    expect((await registry.auditState()).checkpoint.sequence).toBe(3);
    expect(await faultOf(registry)).toBeUndefined();
    expect(await keep(10)).toBe(0);
  });

  test('of more events than one step takes goes on, and of everything leaves what proves it', async () => {
    const { registry, record, clock } = setup();
    await record(6000);
    await record(6000);
    await clock.advance(2 * DAY_MS);
    expect(await cutOldEvents({ log: registry, days: 1, clock })).toBe(12_000);
    expect((await allEvents(registry)).map(({ action }) => action)).toEqual(['cut', 'cut', 'cut']);
    expect(await faultOf(registry)).toBeUndefined();
    await record(2);
    expect(await faultOf(registry)).toBeUndefined();
  });

  test('keeps the chain whole whenever it comes, and what was noted before is compared', async () => {
    const step = fc.oneof(
      fc.record({ events: fc.integer({ min: 1, max: 9 }) }),
      fc.record({ days: fc.integer({ min: 1, max: 3 }) }),
      fc.record({ keep: fc.integer({ min: 1, max: 3 }) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        const { registry, record, clock } = setup();
        for (const one of steps) {
          if ('events' in one) await record(one.events);
          if ('days' in one) await clock.advance(one.days * DAY_MS);
          if ('keep' in one) await cutOldEvents({ log: registry, days: one.keep, clock });
          expect(await faultOf(registry)).toBeUndefined();
        }
        await registry.close();
      }),
      { numRuns: 20 },
    );
  });
});
