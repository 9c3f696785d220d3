/** Who is banned, and for how long: never without enough failures, never for ever, in bounded memory. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createFailureBans } from '../../broker-plugin/src/failure-bans.ts';
import { createDrivenClock } from '../helpers/driven-clock.ts';

const RULES = { failures: 10, windowMs: 60_000, firstBanMs: 1000, longestBanMs: 900_000 };

function setup(rules: Partial<typeof RULES> = {}, maxKeys = 100) {
  const clock = createDrivenClock();
  const bans = createFailureBans({ ...RULES, ...rules }, { clock, maxKeys });
  return {
    clock,
    bans,
    pass: (ms: number) => clock.set((clock.nowMs() + ms) / 1000),
    failTimes: (count: number, key = 'a') => Array.from({ length: count }, () => bans.fail(key)),
  };
}

test('the tenth failure at a stroke brings a ban of one second, and the ninth none', () => {
  const { bans, pass, failTimes } = setup();
  expect(failTimes(9)).toEqual(Array(9).fill(0));
  expect(bans.isBanned('a')).toBe(false);
  expect(bans.fail('a')).toBe(1000);
  expect(bans.isBanned('a')).toBe(true);
  pass(999);
  expect(bans.isBanned('a')).toBe(true);
  pass(1);
  expect(bans.isBanned('a')).toBe(false);
});

test('a ban that follows is twice as long as the last, up to the longest', () => {
  const { bans, pass, failTimes } = setup();
  const lengths: number[] = [];
  while (lengths.length < 13) {
    const banMs = failTimes(10).find((ms) => ms > 0) as number;
    lengths.push(banMs / 1000);
    pass(banMs);
    expect(bans.isBanned('a')).toBe(false);
  }
  expect(lengths).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]);
});

test('while a ban lasts nothing is counted, and it ends when it said', () => {
  const { bans, pass, failTimes } = setup();
  failTimes(10);
  pass(500);
  expect(failTimes(100)).toEqual(Array(100).fill(0));
  pass(500);
  expect(bans.isBanned('a')).toBe(false);
});

test.each([
  { name: 'no faster than they are forgiven: never', everyMs: 6000, isBanned: false },
  { name: 'a little faster: in the end', everyMs: 5900, isBanned: true },
])('failures that come $name', ({ everyMs, isBanned }) => {
  const { bans, pass } = setup();
  let longestMs = 0;
  for (let i = 0; i < 1000; i += 1) {
    longestMs = Math.max(longestMs, bans.fail('a'));
    pass(everyMs);
  }
  expect(longestMs > 0).toBe(isBanned);
});

test.each([
  { name: 'just before a quiet window is over: doubled', quietMs: 59_999, nextMs: 2000 },
  { name: 'after a quiet window: not doubled', quietMs: 60_000, nextMs: 1000 },
])('the next ban $name', ({ quietMs, nextMs }) => {
  const { pass, failTimes } = setup();
  failTimes(10);
  pass(1000 + quietMs);
  expect(Math.max(...failTimes(10))).toBe(nextMs);
});

test('keys are counted apart, and one that is forgiven begins anew', () => {
  const { bans, failTimes } = setup();
  failTimes(10, 'a');
  failTimes(9, 'b');
  expect([bans.isBanned('a'), bans.isBanned('b')]).toEqual([true, false]);
  bans.forgive('a');
  bans.forgive('b');
  expect(bans.isBanned('a')).toBe(false);
  expect(failTimes(9, 'a')).toEqual(Array(9).fill(0));
  expect(failTimes(9, 'b')).toEqual(Array(9).fill(0));
  expect(bans.fail('a')).toBe(1000);
});

test('a clock that is set back by an hour ends a ban, and by a second does not lengthen it by more', () => {
  const { bans, clock, pass, failTimes } = setup();
  failTimes(10);
  pass(-1000);
  expect(bans.isBanned('a')).toBe(true);
  pass(2000);
  expect(bans.isBanned('a')).toBe(false);
  failTimes(10);
  expect(bans.isBanned('a')).toBe(true);
  clock.set(clock.now() - 3600);
  expect(bans.isBanned('a')).toBe(false);
});

describe('I11: memory is bounded', () => {
  test('a flood of keys that fail once pushes out no ban', () => {
    const { bans, failTimes } = setup({}, 50);
    failTimes(10, 'bad');
    for (let i = 0; i < 10_000; i += 1) bans.fail(`k-${i}`);
    expect(bans.isBanned('bad')).toBe(true);
    expect(bans.size).toBe(51);
  });

  test('only as many bans as there is room for do, the oldest first', () => {
    const { bans, failTimes } = setup({}, 50);
    failTimes(10, 'bad');
    for (let i = 0; i < 49; i += 1) failTimes(10, `k-${i}`);
    expect(bans.isBanned('bad')).toBe(true);
    failTimes(10, 'k-49');
    expect(bans.isBanned('bad')).toBe(false);
    expect(bans.isBanned('k-0')).toBe(true);
    expect(bans.size).toBe(50);
  });
});

type Step =
  | { readonly do: 'fail'; readonly key: string }
  | { readonly do: 'forgive'; readonly key: string }
  | { readonly do: 'wait'; readonly ms: number };

const key = fc.constantFrom('a', 'b', 'c', 'd');
const steps = fc.array(
  fc.oneof(
    { weight: 8, arbitrary: fc.record({ do: fc.constant('fail' as const), key }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('forgive' as const), key }) },
    {
      weight: 4,
      arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.nat({ max: 20_000 }) }),
    },
  ),
  { maxLength: 300 },
);
const rules = fc.record({
  failures: fc.integer({ min: 1, max: 8 }),
  windowMs: fc.integer({ min: 100, max: 60_000 }),
  longestBanMs: fc.integer({ min: 1000, max: 30_000 }),
});

describe('whatever happens', () => {
  const run = (
    given: Partial<typeof RULES>,
    taken: readonly Step[],
    each: (context: ReturnType<typeof setup>, step: Step, banMs: number) => void,
    maxKeys?: number,
  ) => {
    const context = setup(given, maxKeys);
    for (const step of taken) {
      let banMs = 0;
      if (step.do === 'fail') banMs = context.bans.fail(step.key);
      else if (step.do === 'forgive') context.bans.forgive(step.key);
      else context.pass(step.ms);
      each(context, step, banMs);
    }
    return context;
  };

  test('nobody is banned without as many failures since the last time that they were forgiven', () => {
    fc.assert(
      fc.property(rules, steps, (given, taken) => {
        const since = new Map<string, number>();
        run(given, taken, ({ bans }, step, banMs) => {
          if (step.do === 'wait') return;
          const count = step.do === 'fail' ? (since.get(step.key) ?? 0) + 1 : 0;
          since.set(step.key, count);
          if (count < given.failures) expect(bans.isBanned(step.key)).toBe(false);
          if (banMs > 0) expect(bans.isBanned(step.key)).toBe(true);
        });
      }),
    );
  });

  test('a ban has one of the lengths that there are, and ends after it to the millisecond', () => {
    fc.assert(
      fc.property(rules, steps, (given, taken) => {
        const until = new Map<string, number>();
        run(given, taken, ({ bans, clock }, step, banMs) => {
          if (step.do === 'forgive') until.delete(step.key);
          if (banMs > 0 && step.do === 'fail') {
            expect(banMs === given.longestBanMs || Number.isInteger(Math.log2(banMs / 1000))).toBe(
              true,
            );
            expect(banMs).toBeLessThanOrEqual(given.longestBanMs);
            until.set(step.key, clock.nowMs() + banMs);
          }
          for (const name of ['a', 'b', 'c', 'd']) {
            expect(bans.isBanned(name)).toBe(clock.nowMs() < (until.get(name) ?? 0));
          }
        });
      }),
    );
  });

  test('memory stays within its bound, and after long enough nobody is banned', () => {
    fc.assert(
      fc.property(rules, steps, fc.integer({ min: 1, max: 3 }), (given, taken, maxKeys) => {
        const { bans, pass } = run(
          given,
          taken,
          (context) => expect(context.bans.size).toBeLessThanOrEqual(2 * maxKeys),
          maxKeys,
        );
        pass(given.longestBanMs);
        for (const name of ['a', 'b', 'c', 'd']) expect(bans.isBanned(name)).toBe(false);
      }),
    );
  });
});
