/** The outbox on real SQLite: what was accepted stays, in order, within its bounds. I10, I11. */
import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseTopicFilter } from '@latchkey/shared';
import SqliteDatabase from 'better-sqlite3';
import fc from 'fast-check';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { Message } from '../../agent/src/mqtt-connection.ts';
import {
  type Dropped,
  type Outbox,
  type OutboxLimits,
  openOutbox,
} from '../../agent/src/outbox.ts';
import { createCapturedLog } from '../helpers/captured-log.ts';
import { createDrivenClock } from '../helpers/driven-clock.ts';
import { temporaryDir } from '../helpers/processes.ts';

const LIMITS: OutboxLimits = { maxMessages: 1000, maxBytes: 100_000, maxAgeSeconds: 3600 };
const message = (payload: string, topic = 'a/b', more: Partial<Message> = {}): Message => ({
  topic,
  payload: Buffer.from(payload),
  qos: 1,
  isRetained: false,
  ...more,
});

function setup(limits: Partial<OutboxLimits> = {}) {
  const clock = createDrivenClock();
  const logger = createCapturedLog();
  const path = join(temporaryDir(), 'outbox.sqlite');
  const dropped: [number, Dropped][] = [];
  let outbox: Outbox | undefined;
  const open = (): Outbox => {
    outbox?.close();
    outbox = openOutbox({
      path,
      rules: {
        limits: { ...LIMITS, ...limits },
        alarmFilters: [parseTopicFilter('alarm/#')],
      },
      clock,
      logger,
      onDropped: (...one) => dropped.push(one),
    });
    return outbox;
  };
  onTestFinished(() => outbox?.close());
  return { clock, logger, path, dropped, open };
}

const takeAll = (outbox: Outbox): string[] => {
  const payloads: string[] = [];
  for (let one = outbox.take(); one !== undefined; one = outbox.take()) {
    payloads.push(one.payload.toString());
  }
  return payloads;
};

test('gives back what it was given, after a restart too', async () => {
  const { clock, open } = setup();
  const given = message('é\0\xff', 'a/ü', { qos: 2, isRetained: true });
  const sequence = await open().accept(given);
  expect(open().take()).toEqual({
    ...given,
    sequence,
    lane: 'telemetry',
    acceptedAt: clock.now(),
  });
});

test('hands out each once, in order, alarms first; and all that is left again after a rewind', async () => {
  const { open } = setup();
  const outbox = open();
  const texts = ['1', '2', '3'];
  const sequences = await Promise.all(texts.map((text) => outbox.accept(message(text))));
  expect(outbox.take()?.payload.toString()).toBe('1');
  await outbox.accept(message('fire', 'alarm/x'));
  expect(takeAll(outbox)).toEqual(['fire', '2', '3']);
  await outbox.accept(message('4'));
  expect(takeAll(outbox)).toEqual(['4']);
  outbox.remove(sequences[1] as number);
  outbox.rewind();
  expect(takeAll(outbox)).toEqual(['fire', '1', '3', '4']);
});

test('what is removed stays away, also before that is on disk and after a restart', async () => {
  const { open } = setup();
  const outbox = open();
  const [first] = await Promise.all([outbox.accept(message('1')), outbox.accept(message('2'))]);
  outbox.remove(first);
  expect([outbox.messages, outbox.list(10).length]).toEqual([1, 1]);
  outbox.rewind();
  expect(takeAll(outbox)).toEqual(['2']);
  expect(takeAll(open())).toEqual(['2']);
});

test.each([
  { name: 'messages, at the limit', limits: { maxMessages: 3 }, extra: 0, gone: [] },
  { name: 'messages, beyond it', limits: { maxMessages: 3 }, extra: 1, gone: [2] },
  { name: 'bytes, at the limit', limits: { maxBytes: 18 }, extra: 0, gone: [] },
  { name: 'bytes, beyond it', limits: { maxBytes: 18 }, extra: 1, gone: [2] },
  {
    name: 'alarms, when nothing else is left',
    limits: { maxMessages: 1 },
    extra: 1,
    gone: [2, 3, 4],
  },
])(
  'bounded in $name: the oldest that is no alarm goes, and is counted',
  async ({ limits, extra, gone }) => {
    const { dropped, logger, open } = setup(limits);
    const outbox = open();
    await outbox.accept(message('fire', 'alarm/x')); // 11 bytes
    await outbox.accept(message('1', 'a')); // 2 bytes
    await outbox.accept(message('1234', 'a')); // 5 bytes
    if (extra > 0) await outbox.accept(message('1', 'a'));
    expect(dropped).toEqual(gone.map((sequence) => [sequence, 'limit']));
    expect(outbox.messages).toBe(3 + extra - gone.length);
    expect(logger.all('outbox.dropped').length > 0).toBe(gone.length > 0);
  },
);

test('a message larger than the whole outbox is refused, and nothing goes for it', async () => {
  const { open } = setup({ maxBytes: 10 });
  const outbox = open();
  await outbox.accept(message('12345', 'a'));
  await expect(outbox.accept(message('1234567890', 'a'))).rejects.toMatchObject({
    name: 'OutboxFullError',
  });
  expect(outbox.messages).toBe(1);
  await outbox.accept(message('123456789', 'a'));
  expect(takeAll(outbox)).toEqual(['123456789']);
});

test('drops what is older than the limit, and not what is as old', async () => {
  const { clock, dropped, open } = setup();
  const outbox = open();
  const first = await outbox.accept(message('old'));
  clock.set(clock.now() + 1);
  await outbox.accept(message('new'));
  clock.set(clock.now() + 3599);
  outbox.sweep();
  expect(dropped).toEqual([]);
  clock.set(clock.now() + 1);
  outbox.sweep();
  expect(dropped).toEqual([[first, 'age']]);
  expect(takeAll(outbox)).toEqual(['new']);
});

test('a message accepted before the clock was set has no age, and no clock of 1970 drops any', async () => {
  const { clock, dropped, open } = setup();
  const outbox = open();
  const now = clock.now();
  await outbox.accept(message('dated'));
  clock.set(100);
  await outbox.accept(message('undated'));
  outbox.sweep();
  clock.set(now + 10_000);
  outbox.sweep();
  expect(dropped).toEqual([[1, 'age']]);
  expect(outbox.take()).toMatchObject({ acceptedAt: undefined });
});

test('drops by hand: one, one that is not there, all', async () => {
  const { dropped, open } = setup();
  const outbox = open();
  for (const text of ['1', '2', '3']) await outbox.accept(message(text));
  expect(await outbox.drop({ sequence: 2 })).toBe(1);
  expect(await outbox.drop({ sequence: 2 })).toBe(0);
  expect(await outbox.drop('all')).toBe(2);
  expect([outbox.messages, outbox.bytes]).toEqual([0, 0]);
  expect(dropped).toEqual([1, 2, 3].map((n) => [n === 1 ? 2 : n === 2 ? 1 : 3, 'operator']));
});

/** Commits in a write-ahead log: frames that say how many pages the file has now. */
function commitsIn(wal: Buffer): number {
  const frameBytes = 24 + wal.readUInt32BE(8);
  let commits = 0;
  for (let at = 32; at < wal.length; at += frameBytes) {
    if (wal.readUInt32BE(at + 4) !== 0) commits += 1;
  }
  return commits;
}

test('messages that come together, or just after another, share a commit', async () => {
  const { open, path } = setup();
  const outbox = open();
  await outbox.accept(message('0'));
  const before = commitsIn(readFileSync(`${path}-wal`));
  await Promise.all(Array.from({ length: 500 }, (_, i) => outbox.accept(message(`${i}`))));
  expect(commitsIn(readFileSync(`${path}-wal`))).toBe(before + 1);
});

test('31 that come just after a commit wait for more, 32 do not', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const { open } = setup();
  const outbox = open();
  const turn = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  await outbox.accept(message('first'));
  const more = Array.from({ length: 31 }, () => outbox.accept(message('more')));
  await turn();
  expect(outbox.messages).toBe(1);
  const last = outbox.accept(message('last'));
  await turn();
  expect(outbox.messages).toBe(33);
  await Promise.all([...more, last]);
});

test('what was dropped is not handed out, although it was read already', async () => {
  const { dropped, open } = setup({ maxMessages: 4 });
  const outbox = open();
  for (const text of ['1', '2', '3', '4']) await outbox.accept(message(text));
  expect(outbox.take()?.payload.toString()).toBe('1');
  await outbox.accept(message('5'));
  await outbox.accept(message('6')); // 1 and 2 go
  expect(dropped.map(([, why]) => why)).toEqual(['limit', 'limit']);
  expect(outbox.take()?.payload.toString()).toBe('3');
  const [oldest] = outbox.list(1);
  await outbox.drop({ sequence: (oldest?.sequence as number) + 1 });
  expect(takeAll(outbox)).toEqual(['5', '6']);
  outbox.rewind();
  expect(takeAll(outbox)).toEqual(['3', '5', '6']);
});

test('more than are read at once come in their order', async () => {
  const { open } = setup();
  const texts = Array.from({ length: 100 }, (_, i) => `${i}`);
  const outbox = open();
  await Promise.all(texts.map((text) => outbox.accept(message(text))));
  expect(takeAll(outbox)).toEqual(texts);
});

test('a number is never given twice, whatever was removed before a restart', async () => {
  const { open } = setup();
  const outbox = open();
  const first = await outbox.accept(message('1'));
  outbox.remove(first);
  expect(await open().accept(message('2'))).toBeGreaterThan(first);
});

test('the file is private, and one that is open to others is refused', async () => {
  const { open, path } = setup();
  await open().accept(message('1'));
  for (const suffix of ['', '-wal']) {
    expect(statSync(`${path}${suffix}`).mode & 0o077).toBe(0);
  }
  open().close();
  chmodSync(path, 0o640);
  expect(open).toThrow(/chmod 600/);
});

test('a damaged file is set aside and told; the device goes on', async () => {
  const { logger, open, path } = setup();
  writeFileSync(path, 'x'.repeat(8192), { mode: 0o600 });
  await open().accept(message('1'));
  expect(logger.all('outbox.damaged')).toMatchObject([{ path: `${path}.damaged` }]);
  expect(readFileSync(`${path}.damaged`, 'utf8')).toBe('x'.repeat(8192));
});

test('a file of a newer program is left alone', async () => {
  const { open, path } = setup();
  await open().accept(message('1'));
  open().close();
  const db = new SqliteDatabase(path);
  db.pragma('user_version = 99');
  db.close();
  expect(open).toThrow(/newer latchkey-agent/);
  expect(existsSync(`${path}.damaged`)).toBe(false);
});

type Step =
  | { readonly do: 'accept'; readonly isAlarm: boolean }
  | { readonly do: 'take' | 'rewind' | 'reopen' }
  | { readonly do: 'remove'; readonly nth: number };

test('any run of steps leaves what a list of messages would hold, in its order', async () => {
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 4, arbitrary: fc.record({ do: fc.constant('accept'), isAlarm: fc.boolean() }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constantFrom('take', 'rewind', 'reopen') }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('remove'), nth: fc.nat(20) }) },
  ) as fc.Arbitrary<Step>;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const { open } = setup();
      let outbox = open();
      let model: { sequence: number; isAlarm: boolean; isOut: boolean }[] = [];
      const inOrder = () => [
        ...model.filter(({ isAlarm }) => isAlarm),
        ...model.filter(({ isAlarm }) => !isAlarm),
      ];
      for (const one of steps) {
        if (one.do === 'accept') {
          const { isAlarm } = one;
          const sequence = await outbox.accept(message('x', isAlarm ? 'alarm/x' : 'a'));
          model.push({ sequence, isAlarm, isOut: false });
        } else if (one.do === 'remove') {
          const chosen = model[one.nth % Math.max(1, model.length)];
          if (chosen !== undefined) outbox.remove(chosen.sequence);
          model = model.filter((other) => other !== chosen);
        } else if (one.do === 'take') {
          const next = inOrder().find(({ isOut }) => !isOut);
          expect(outbox.take()?.sequence).toBe(next?.sequence);
          if (next !== undefined) next.isOut = true;
        } else {
          if (one.do === 'rewind') outbox.rewind();
          else outbox = open();
          for (const other of model) other.isOut = false;
        }
        expect(outbox.messages).toBe(model.length);
      }
      expect(outbox.list(100).map(({ sequence }) => sequence)).toEqual(
        inOrder().map(({ sequence }) => sequence),
      );
      outbox.close();
    }),
    { numRuns: 30 },
  );
});
