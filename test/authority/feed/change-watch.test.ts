import { describe, expect, test } from 'vitest';
import { createChangeWatch } from '../../../authority/src/feed/change-watch.ts';
import { createDrivenClock } from '../../helpers/driven-clock.ts';

const FEED = 'a';

function setup(maxWaiting = 10) {
  const clock = createDrivenClock();
  let sequence = 1;
  let looks = 0;
  let isBroken = false;
  const listeners = new Set<() => void>();
  const registry = {
    feedMark: async () => {
      looks += 1;
      if (isBroken) throw new Error('disk');
      return { feedId: FEED, sequence };
    },
    onFeedChange: (listener: () => void) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
  const watch = createChangeWatch({ registry, clock, maxWaiting });
  const wait = (seen = sequence, signal = new AbortController().signal) => {
    let isOver = false;
    const over = watch.wait({ feedId: FEED, sequence: seen }, 10_000, signal).then(() => {
      isOver = true;
    });
    return { over, isOver: () => isOver };
  };
  return {
    ...{ clock, watch, wait, listeners },
    looks: () => looks,
    /** A change of this process rings; one of another does not. */
    change: (isOwn: boolean) => {
      sequence += 1;
      if (isOwn) for (const listener of listeners) listener();
    },
    break: () => {
      isBroken = true;
    },
  };
}

test('nobody is looked for while nobody waits', async () => {
  const { clock, looks, change } = setup();
  change(true);
  await clock.advance(10_000);
  expect(looks()).toBe(0);
});

test('an own change wakes without any time passing', async () => {
  const { clock, wait, change } = setup();
  const { over } = wait();
  const before = clock.nowMs();
  change(true);
  await over;
  expect(clock.nowMs()).toBe(before);
});

test('a change of another process wakes within 50 ms', async () => {
  const { clock, wait, change } = setup();
  const { isOver } = wait();
  await clock.advance(49);
  change(false);
  expect(isOver()).toBe(false);
  await clock.advance(1);
  expect(isOver()).toBe(true);
});

test('a thousand own changes at once are looked at twice', async () => {
  const { clock, wait, change, looks } = setup();
  const first = wait();
  change(true);
  await first.over;
  expect(looks()).toBe(1);
  const second = wait(2);
  for (let i = 0; i < 1000; i += 1) change(true);
  await clock.advance(25);
  expect(second.isOver()).toBe(true);
  expect(looks()).toBe(2);
});

test('the time that was asked for is the longest', async () => {
  const { clock, wait } = setup();
  const { isOver } = wait();
  await clock.advance(9_999);
  expect(isOver()).toBe(false);
  await clock.advance(1);
  expect(isOver()).toBe(true);
});

test('when the registry cannot be read, everybody goes and sees for himself', async () => {
  const { clock, wait, break: breakDown } = setup();
  const { isOver } = wait();
  breakDown();
  await clock.advance(50);
  expect(isOver()).toBe(true);
});

describe('who is gone', () => {
  test('does not wait', async () => {
    const { watch, wait } = setup(1);
    const controller = new AbortController();
    const { over } = wait(1, controller.signal);
    controller.abort();
    await over;
    await wait(1, controller.signal).over;
    const next = wait();
    watch.close();
    await next.over;
  });

  test('leaves the place to another', async () => {
    const { watch, wait } = setup(1);
    const controller = new AbortController();
    const first = wait(1, controller.signal);
    await expect(
      watch.wait({ feedId: FEED, sequence: 1 }, 10, new AbortController().signal),
    ).rejects.toMatchObject({ error: 'temporarily_unavailable' });
    controller.abort();
    await first.over;
    const { isOver } = wait();
    expect(isOver()).toBe(false);
    watch.close();
  });
});

test('once it is closed nobody waits and nobody listens', async () => {
  const { watch, wait, listeners } = setup();
  const { over } = wait();
  watch.close();
  await over;
  await wait().over;
  expect(listeners.size).toBe(0);
});
