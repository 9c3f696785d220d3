/** The time that one decision may take. */
import { UnavailableError } from '@latchkey/shared';
import { expect, test } from 'vitest';
import { createTimeLimit } from '../../broker-plugin/src/time-limit.ts';
import { createDrivenClock } from '../helpers/driven-clock.ts';

function setup() {
  const clock = createDrivenClock();
  const stop = new AbortController();
  const withinTime = createTimeLimit({ clock, limitMs: 5000, signal: stop.signal });
  return { clock, stop, withinTime };
}

const never = () => new Promise<never>(() => undefined);

/** Says at any time how the work stands. */
function watched(work: Promise<unknown>): { state: string } {
  const seen = { state: 'under way' };
  work.then(
    () => Object.assign(seen, { state: 'done' }),
    (error: unknown) =>
      Object.assign(seen, { state: error instanceof UnavailableError ? 'late' : 'failed' }),
  );
  return seen;
}

test('work that ends in time has its outcome', async () => {
  const { withinTime } = setup();
  await expect(withinTime(Promise.resolve(7))).resolves.toBe(7);
  await expect(withinTime(Promise.reject(new RangeError('no')))).rejects.toThrow(RangeError);
});

test('work is late at its limit, not before', async () => {
  const { clock, withinTime } = setup();
  const work = watched(withinTime(never()));
  await clock.advance(4999);
  expect(work.state).toBe('under way');
  await clock.advance(1);
  expect(work.state).toBe('late');
});

test('each work has the whole limit, whenever it began', async () => {
  const { clock, withinTime } = setup();
  const first = watched(withinTime(never()));
  await clock.advance(2000);
  const second = watched(withinTime(never()));
  const third = watched(withinTime(never()));
  await clock.advance(3000);
  expect([first.state, second.state, third.state]).toEqual(['late', 'under way', 'under way']);
  await clock.advance(1999);
  expect([second.state, third.state]).toEqual(['under way', 'under way']);
  await clock.advance(1);
  expect([second.state, third.state]).toEqual(['late', 'late']);
});

test('work that begins after all others ended is watched too', async () => {
  const { clock, withinTime } = setup();
  await withinTime(Promise.resolve());
  await clock.advance(60_000);
  const work = watched(withinTime(never()));
  await clock.advance(4999);
  expect(work.state).toBe('under way');
  await clock.advance(1);
  expect(work.state).toBe('late');
});

test('a clock that is set back lets nobody wait for ever', async () => {
  const { clock, withinTime } = setup();
  const first = watched(withinTime(never()));
  await clock.advance(1000);
  const second = watched(withinTime(never()));
  clock.set(clock.now() - 86_400);
  await clock.advance(86_400_000 + 4000);
  expect(first.state).toBe('late');
  await clock.advance(5000);
  expect(second.state).toBe('late');
});

test('what is under way when the plugin closes is left to whoever closes it', async () => {
  const { clock, stop, withinTime } = setup();
  const work = watched(withinTime(never()));
  stop.abort();
  await clock.advance(60_000);
  expect(work.state).toBe('under way');
});
