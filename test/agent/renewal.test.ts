import { isUsable, renewalAt, safetyMarginSeconds } from '@latchkey/agent/daemon';
import fc from 'fast-check';
import { expect, test } from 'vitest';

const T0 = 1_760_000_000;
const of = (seconds: number) => ({ issuedAt: T0, expiresAt: T0 + seconds });

test.each([
  { name: 'earliest: 60 % of the life', random: 0, at: T0 + 540 },
  { name: 'middle', random: 0.5, at: T0 + 630 },
  { name: 'latest: below 80 %', random: 0.999_999, at: T0 + 719.999_82 },
])('renewal: $name', ({ random, at }) => {
  expect(renewalAt(of(900), random)).toBeCloseTo(at, 4);
});

test('renewal is always between 60 and 80 % of the life, and before the safety margin', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 86_400 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (seconds, random) => {
        const lifetime = of(seconds);
        const at = renewalAt(lifetime, random);
        const tiny = 1e-5; // numbers of 1e9 have about that precision
        expect(at - T0).toBeGreaterThanOrEqual(seconds * 0.6 - tiny);
        expect(at - T0).toBeLessThanOrEqual(seconds * 0.8 + tiny);
        expect(at).toBeLessThan(lifetime.expiresAt - safetyMarginSeconds(lifetime));
      },
    ),
  );
});

test.each([
  { name: 'a long life has 30 s', seconds: 900, margin: 30 },
  { name: 'at 300 s both rules agree', seconds: 300, margin: 30 },
  { name: 'a short life has 10 %', seconds: 60, margin: 6 },
])('margin: $name', ({ seconds, margin }) => {
  expect(safetyMarginSeconds(of(seconds))).toBe(margin);
});

test.each([
  { name: 'at once', now: T0, is: true },
  { name: 'one second before the margin', now: T0 + 869, is: true },
  { name: 'at the margin', now: T0 + 870, is: false },
  { name: 'at exp', now: T0 + 900, is: false },
  { name: 'the clock went backwards past its issue', now: T0 - 1, is: false },
])('usable: $name', ({ now, is }) => {
  expect(isUsable(of(900), now)).toBe(is);
});
