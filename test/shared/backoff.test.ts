import {
  backoffLimitMs,
  backoffMs,
  createBackoff,
  NETWORK_BACKOFF,
  OPERATOR_BACKOFF,
} from '@latchkey/shared';
import fc from 'fast-check';
import { expect, test } from 'vitest';

test.each([
  { name: 'network: first', range: NETWORK_BACKOFF, attempt: 0, limitMs: 1000 },
  { name: 'network: doubles', range: NETWORK_BACKOFF, attempt: 3, limitMs: 8000 },
  { name: 'network: last below the cap', range: NETWORK_BACKOFF, attempt: 6, limitMs: 64_000 },
  { name: 'network: capped at 2 minutes', range: NETWORK_BACKOFF, attempt: 7, limitMs: 120_000 },
  { name: 'operator: first', range: OPERATOR_BACKOFF, attempt: 0, limitMs: 60_000 },
  { name: 'operator: capped at 1 hour', range: OPERATOR_BACKOFF, attempt: 6, limitMs: 3_600_000 },
])('limit: $name', ({ range, attempt, limitMs }) => {
  expect(backoffLimitMs(range, attempt)).toBe(limitMs);
});

test('a wait is never negative and never above the limit of its try, for any number of tries', () => {
  fc.assert(
    fc.property(
      fc.nat({ max: 100_000 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (attempt, random) => {
        const waitMs = backoffMs(NETWORK_BACKOFF, attempt, random);
        expect(waitMs).toBeGreaterThanOrEqual(0);
        expect(waitMs).toBeLessThan(backoffLimitMs(NETWORK_BACKOFF, attempt));
        expect(waitMs).toBeLessThan(NETWORK_BACKOFF.capMs);
      },
    ),
  );
});

test('a success begins the series anew', () => {
  const backoff = createBackoff(NETWORK_BACKOFF, () => 0.999_999);
  const first = backoff.nextMs();
  expect(backoff.nextMs()).toBeGreaterThan(first);
  backoff.reset();
  expect(backoff.nextMs()).toBe(first);
});
