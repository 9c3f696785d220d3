/** Patterns of client ids: `*` and nothing else, and never slow. */
import { matchesIdPattern, parseIdPattern } from '@latchkey/authority';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

describe('matchesIdPattern', () => {
  test.each([
    { pattern: '*', id: 'anything', ok: true },
    { pattern: 't-*', id: 't-', ok: true },
    { pattern: 't-*', id: 't-42', ok: true },
    { pattern: 't-*', id: 'xt-42', ok: false },
    { pattern: 't-42', id: 't-42', ok: true },
    { pattern: 't-42', id: 't-421', ok: false },
    { pattern: '*-a', id: 'x-a-a', ok: true },
    { pattern: '*-a', id: 'x-ab', ok: false },
    { pattern: 'a*a', id: 'a', ok: false },
    { pattern: 'a*a', id: 'aa', ok: true },
    { pattern: 'a*b*c', id: 'a-c-b', ok: false },
    { pattern: 'a*b*c', id: 'abbc', ok: true },
    { pattern: 'a.c', id: 'abc', ok: false },
    { pattern: 'a**b', id: 'ab', ok: true },
  ])('$pattern on $id: $ok', ({ pattern, id, ok }) => {
    expect(matchesIdPattern(pattern, id)).toBe(ok);
  });

  test('agrees with a regular expression on short ids', () => {
    const text = (chars: string, maxLength: number) =>
      fc.string({ unit: fc.constantFrom(...chars), minLength: 1, maxLength });
    fc.assert(
      fc.property(text('ab-*', 6), text('ab-', 8), (pattern, id) => {
        const expression = new RegExp(`^${pattern.replaceAll('*', '.*')}$`);
        expect(matchesIdPattern(pattern, id)).toBe(expression.test(id));
      }),
      { numRuns: 2000 },
    );
  });

  test('is quick where a regular expression would not end', () => {
    expect(matchesIdPattern(`${'*a'.repeat(31)}*b`, 'a'.repeat(64))).toBe(false);
  });
});

test.each(['', 'a?', 'a/b', 't-[0-9]', 'x'.repeat(65), ' t', '-*'])(
  'parseIdPattern refuses %j',
  (pattern) => {
    expect(() => parseIdPattern(pattern)).toThrow(expect.objectContaining({ field: 'id_pattern' }));
  },
);
