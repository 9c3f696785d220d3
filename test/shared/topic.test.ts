import {
  covers,
  MAX_TOPIC_BYTES,
  MAX_TOPIC_LEVELS,
  matches,
  parseTopicFilter,
  parseTopicName,
  type TopicFilter,
  type TopicName,
} from '@latchkey/shared';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { allFilters, allTopics, hasBit, isSubset, modelBits } from '../helpers/topic-model.ts';

const filter = (text: string) => parseTopicFilter(text);
const name = (text: string) => parseTopicName(text);
const problem = (field: string) => expect.objectContaining({ name: 'FormatError', field });

describe('what no topic may be', () => {
  test.each([
    { name: 'empty', text: '' },
    { name: 'U+0000', text: 'a/\0' },
    { name: 'a line feed', text: 'a/\n' },
    { name: 'U+007F', text: 'a\u007f' },
    { name: 'U+0085', text: 'a\u0085' },
    { name: 'a lone high surrogate', text: 'a/\ud800' },
    { name: 'a lone low surrogate', text: 'a/\udc00b' },
    { name: 'the non-character U+FFFE', text: 'a\ufffe' },
    { name: 'the non-character U+FDD0', text: 'a\ufdd0' },
    { name: 'the non-character U+1FFFF', text: 'a\u{1ffff}' },
    { name: 'U+FFFD, which a decoder leaves for ill-formed UTF-8', text: 'a/\ufffd' },
    { name: 'one byte too many', text: 'a'.repeat(MAX_TOPIC_BYTES + 1) },
    { name: 'one byte too many in two-byte characters', text: 'é'.repeat(MAX_TOPIC_BYTES / 2 + 1) },
    { name: 'one level too many', text: '/'.repeat(MAX_TOPIC_LEVELS) },
    {
      name: 'one level too many of text',
      text: Array(MAX_TOPIC_LEVELS + 1)
        .fill('ab')
        .join('/'),
    },
  ])('refused: $name', ({ text }) => {
    expect(() => parseTopicName(text, 'topic')).toThrow(problem('topic'));
    expect(() => parseTopicFilter(text, 'topic')).toThrow(problem('topic'));
  });

  test.each([undefined, null, 7, ['a'], { a: 1 }, Buffer.from('a')])('refused: %s', (value) => {
    expect(() => parseTopicName(value)).toThrow(problem('topic name'));
    expect(() => parseTopicFilter(value)).toThrow(problem('topic filter'));
  });

  test('the value is never echoed', () => {
    const secret = 'hunter2#';
    expect(() => parseTopicName(secret)).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('hunter2') }),
    );
  });
});

describe('what every topic may be', () => {
  test.each([
    { name: 'one blank', text: ' ' },
    { name: 'one slash', text: '/' },
    { name: 'empty levels', text: '/a//b/' },
    { name: 'U+FEFF, which is kept [MQTT-1.5.3-3]', text: '\ufeffa' },
    { name: 'a character beyond the BMP', text: 'a/🌡/b' },
    { name: 'a dollar sign', text: '$SYS/a' },
    { name: 'the greatest length', text: 'a'.repeat(MAX_TOPIC_BYTES) },
    { name: 'the greatest length in bytes', text: `a${'é'.repeat((MAX_TOPIC_BYTES - 1) / 2)}` },
    { name: 'the most levels', text: '/'.repeat(MAX_TOPIC_LEVELS - 1) },
    { name: 'the most levels of text', text: Array(MAX_TOPIC_LEVELS).fill('ab').join('/') },
  ])('accepted: $name', ({ text }) => {
    expect(parseTopicName(text)).toBe(text);
    expect(parseTopicFilter(text)).toBe(text);
  });
});

describe('wildcards', () => {
  test.each(['+', '#', 'a/+', '+/a', 'a/+/b', 'a/#', '+/#', '/+', '+/', '/#', '+/+/+'])(
    '%s is a filter and not a name',
    (text) => {
      expect(parseTopicFilter(text)).toBe(text);
      expect(() => parseTopicName(text)).toThrow(problem('topic name'));
    },
  );

  test.each(['a+', '+a', 'a/b+', 'a/+b', 'a/b+/c', '++', '+/b+', 'a#', '#a', '##', '#/a', 'a/#/b'])(
    '%s is neither a filter nor a name [MQTT-4.7.1-2, -3]',
    (text) => {
      expect(() => parseTopicFilter(text)).toThrow(problem('topic filter'));
      expect(() => parseTopicName(text)).toThrow(problem('topic name'));
    },
  );
});

describe('covers', () => {
  test.each([
    { granted: 'a/#', requested: 'a', is: true },
    { granted: 'a/#', requested: 'a/+/b', is: true },
    { granted: 'a/+/c', requested: 'a/b/c', is: true },
    { granted: 'a/b', requested: 'a/+', is: false },
    { granted: '#', requested: '+/a', is: true },
    { granted: 'a/+', requested: 'a/#', is: false },
    { granted: 'a/+', requested: 'a', is: false },
    { granted: '+/x', requested: '/x', is: true },
    { granted: '#', requested: '$SYS/x', is: false },
    { granted: '+/#', requested: '$SYS/x', is: false },
    { granted: '+', requested: '$SYS', is: false },
    { granted: '$SYS/#', requested: '#', is: false },
    { granted: '$SYS/#', requested: '$SYS', is: true },
    { granted: 'a/+', requested: 'a/$x', is: true },
    { granted: 'a/#', requested: 'ab', is: false },
    { granted: 'a', requested: 'A', is: false },
    // The three degenerate cases: '#' has no name of zero levels, '/#' none but '/' and below.
    { granted: '+/#', requested: '#', is: true },
    { granted: '/+/#', requested: '/#', is: true },
    { granted: '+/+/#', requested: '/#', is: true },
    { granted: '+/+/#', requested: '#', is: false },
    { granted: '+/+/#', requested: 'a/#', is: false },
  ])('$granted covers $requested: $is', ({ granted, requested, is }) => {
    expect(covers(filter(granted), filter(requested))).toBe(is);
  });

  test('characters are compared one by one, without normalization [MQTT-4.7.3-4]', () => {
    expect(matches(filter('caf\u00e9'), name('cafe\u0301'))).toBe(false);
  });
});

describe('all filters up to 4 levels against all names up to 5 levels', () => {
  // 'z' occurs in no filter and stands for every level that nobody thought of.
  const filters = allFilters(['a', '', '$s'], 4) as readonly TopicFilter[];
  const names = allTopics(['a', '', '$s', 'z'], 5) as readonly TopicName[];
  const bits = filters.map((text) => modelBits(text, names));

  test('the model has them all, and each one can be parsed', () => {
    expect(filters).toHaveLength(424);
    expect(new Set(filters).size).toBe(424);
    expect(names).toHaveLength(1363);
    for (const text of filters) expect(parseTopicFilter(text)).toBe(text);
    for (const text of names) expect(parseTopicName(text)).toBe(text);
  });

  test('covers: no unsound case and no missed case', () => {
    const wrong: string[] = [];
    for (const [i, granted] of filters.entries()) {
      for (const [j, requested] of filters.entries()) {
        const expected = isSubset(bits[j]!, bits[i]!);
        if (covers(granted, requested) !== expected) wrong.push(`${granted} ~ ${requested}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test('matches: no unsound case and no missed case', () => {
    const wrong: string[] = [];
    for (const [i, granted] of filters.entries()) {
      for (const [n, topic] of names.entries()) {
        if (matches(granted, topic) !== hasBit(bits[i]!, n)) wrong.push(`${granted} ~ ${topic}`);
      }
    }
    expect(wrong).toEqual([]);
  });
});

const level = fc.constantFrom('a', 'b', '', '$s', 'é');
const nameText = fc
  .array(level, { minLength: 1, maxLength: 8 })
  .map((levels) => levels.join('/'))
  .filter((text) => text !== '');
/** The same filter with some levels made `+`, and perhaps its end made `#`. */
const widened = (text: string) =>
  fc
    .tuple(fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }), fc.option(fc.nat(7)))
    .map(([isPlus, cut]) => {
      const levels = text.split('/').map((part, i) => (isPlus[i] && part !== '#' ? '+' : part));
      return cut === null || cut >= levels.length ? levels : [...levels.slice(0, cut), '#'];
    })
    .map((levels) => levels.join('/') as TopicFilter);
const filterText = nameText.chain(widened).filter((text) => text !== '');

test('covers(a, b) and matches(b, n) imply matches(a, n)', () => {
  const chain = nameText.chain((n) =>
    widened(n).chain((b) => fc.tuple(widened(b), fc.constant(b), fc.constant(n as TopicName))),
  );
  let tried = 0;
  fc.assert(
    fc.property(chain, ([a, b, n]) => {
      if (!covers(a, b) || !matches(b, n)) return;
      tried += 1;
      expect(matches(a, n)).toBe(true);
    }),
    { numRuns: 1000 },
  );
  expect(tried).toBeGreaterThan(300);
});

test('every filter covers itself, and covering is transitive', () => {
  fc.assert(
    fc.property(filterText, filterText, filterText, (a, b, c) => {
      expect(covers(a, a)).toBe(true);
      if (covers(a, b) && covers(b, c)) expect(covers(a, c)).toBe(true);
    }),
  );
});

test('any text is either refused as a name or comes back unchanged', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const isName = /^[^+#\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}\uFFFD]+$/u.test(text);
      if (isName) expect(parseTopicName(text)).toBe(text);
      else expect(() => parseTopicName(text)).toThrow(problem('topic name'));
    }),
  );
});
