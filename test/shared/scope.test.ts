import {
  compileTopicRights,
  covers,
  decide,
  formatScope,
  formatTopicScope,
  isTopicScopeLike,
  MAX_SCOPE_LENGTH,
  MAX_SCOPE_VALUES,
  parseRawTopicScope,
  parseScope,
  parseTopicFilter,
  parseTopicScope,
  percentDecode,
  scopeCovers,
  type TopicScope,
} from '@latchkey/shared';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

const refused = expect.objectContaining({
  name: 'FormatError',
  field: expect.stringMatching(/^scope/),
});

describe('a topic scope', () => {
  test.each([
    { text: 'pub:a', is: { action: 'pub', filter: 'a', maxQos: 2, isRetainAllowed: true } },
    { text: 'sub:a/#', is: { action: 'sub', filter: 'a/#', maxQos: 2, isRetainAllowed: true } },
    { text: 'pubsub:+', is: { action: 'pubsub', filter: '+', maxQos: 2, isRetainAllowed: true } },
    { text: 'pub;qos=0:a', is: { action: 'pub', filter: 'a', maxQos: 0, isRetainAllowed: true } },
    { text: 'sub;qos=1:a', is: { action: 'sub', filter: 'a', maxQos: 1, isRetainAllowed: true } },
    {
      text: 'pub;retain=0:a',
      is: { action: 'pub', filter: 'a', maxQos: 2, isRetainAllowed: false },
    },
    {
      text: 'pub;retain=1;qos=2:a',
      is: { action: 'pub', filter: 'a', maxQos: 2, isRetainAllowed: true },
    },
    { text: 'pub:a:b;c', is: { action: 'pub', filter: 'a:b;c', maxQos: 2, isRetainAllowed: true } },
    { text: 'pub:a%20b', is: { action: 'pub', filter: 'a b', maxQos: 2, isRetainAllowed: true } },
    { text: 'pub:a%2fb', is: { action: 'pub', filter: 'a/b', maxQos: 2, isRetainAllowed: true } },
    { text: 'pub:a/%2B', is: { action: 'pub', filter: 'a/+', maxQos: 2, isRetainAllowed: true } },
    {
      text: 'pub:%C3%A9%25',
      is: { action: 'pub', filter: 'é%', maxQos: 2, isRetainAllowed: true },
    },
    {
      text: 'sub:$SYS/#',
      is: { action: 'sub', filter: '$SYS/#', maxQos: 2, isRetainAllowed: true },
    },
  ])('$text', ({ text, is }) => {
    expect(parseTopicScope(text)).toEqual(is);
    expect(parseScope(text)).toEqual({ topicScopes: [is], plainScopes: [] });
    expect(Object.isFrozen(parseTopicScope(text))).toBe(true);
  });

  test.each([
    'pub',
    'pub:',
    'sub',
    'sub:',
    'pubsub',
    'pubsub:',
    'PUB:a',
    'Pub:a',
    'pub;:a',
    'pub;;:a',
    'pub;qos:a',
    'pub;qos=:a',
    'pub;qos=3:a',
    'pub;qos=-1:a',
    'pub;qos=00:a',
    'pub;qos=01:a',
    'pub;QOS=1:a',
    'pub;qos=1',
    'pub;qos=1;qos=1:a',
    'pub;qos=1;qos=2:a',
    'pub;retain:a',
    'pub;retain=2:a',
    'pub;retain=0;retain=1:a',
    'pub;retain=true:a',
    'sub;retain=0:a',
    'sub;retain=1:a',
    'pub;nl=1:a',
    'pub;qos=1;x=1:a',
    'pub;%71os=1:a',
    'write;qos=1:a',
    'x;y',
    ';pub:a',
    'pub;__proto__=1:a',
    'pub:a+',
    'pub:a#',
    'pub:#/a',
    'pub:a/+b',
    'pub:%',
    'pub:%2',
    'pub:%zz',
    'pub:%%',
    'pub:a%2',
    'pub:%FF',
    'pub:%C0%AF',
    'pub:%ED%A0%80',
    'pub:%00',
    'pub:%0A',
    'pub:%EF%BF%BD',
    'pub:a%23b',
  ])('%s makes the whole scope invalid, never wider', (text) => {
    expect(isTopicScopeLike(text)).toBe(true);
    expect(() => parseTopicScope(text)).toThrow(refused);
    expect(() => parseScope(text)).toThrow(refused);
    expect(() => parseScope(`orders:read ${text} sub:a`)).toThrow(refused);
  });

  test.each([
    '',
    ' ',
    'é',
    'pub:é',
    'pub:a b',
    'pub:"',
    'pub:\\',
    'pub:a\n',
    'pub:\u007f',
    'pub:a\0',
  ])('%j is no scope value (RFC 6749 3.3)', (text) => {
    expect(() => parseTopicScope(text)).toThrow(refused);
    expect(() => parseRawTopicScope(text)).toThrow(refused);
  });

  test.each([
    'orders:read',
    'publish:a',
    'all',
    'p',
    'pubs:a',
    'xpub:a',
    'a:b;c',
    'https://a.example/b',
    '%zz',
    'pub.x:a',
  ])('%s is a plain scope and gives no right at a broker', (text) => {
    expect(parseScope(text)).toEqual({ topicScopes: [], plainScopes: [text] });
    expect(() => parseTopicScope(text)).toThrow(refused);
  });

  test('a text beyond the bound is refused before it is decoded', () => {
    const text = `pub:${'a'.repeat(MAX_SCOPE_LENGTH)}`;
    expect(() => parseTopicScope(text)).toThrow(refused);
    expect(() => parseTopicScope(`pub:${'%41'.repeat(1_000_000)}`)).toThrow(refused);
  });
});

describe('a scope string', () => {
  test.each([
    { name: 'undefined', text: undefined },
    { name: 'null', text: null },
    { name: 'an array', text: ['pub:a'] },
    { name: 'a blank', text: ' ' },
    { name: 'a leading blank', text: ' pub:a' },
    { name: 'a trailing blank', text: 'pub:a ' },
    { name: 'two blanks', text: 'pub:a  sub:b' },
    { name: 'a tab', text: 'pub:a\tsub:b' },
    { name: 'a newline', text: 'pub:a\nsub:b' },
    { name: 'a comma and beyond ASCII', text: 'pub:a,é' },
    { name: 'a quote', text: 'a"b' },
    { name: 'a backslash', text: 'a\\b' },
    {
      name: 'one value too many',
      text: Array(MAX_SCOPE_VALUES + 1)
        .fill('a')
        .join(' '),
    },
    { name: 'one character too many', text: 'a'.repeat(MAX_SCOPE_LENGTH + 1) },
  ])('refused: $name', ({ text }) => {
    expect(() => parseScope(text)).toThrow(refused);
    expect(() => parseScope(text, 'mine')).toThrow(expect.objectContaining({ field: 'mine' }));
  });

  test('accepted: nothing, which allows to connect and nothing else', () => {
    expect(parseScope('')).toEqual({ topicScopes: [], plainScopes: [] });
  });

  test('accepted: as many values and characters as the bounds say', () => {
    expect(parseScope(Array(MAX_SCOPE_VALUES).fill('pub:a').join(' ')).topicScopes).toHaveLength(
      MAX_SCOPE_VALUES,
    );
    expect(parseScope('a'.repeat(MAX_SCOPE_LENGTH)).plainScopes).toHaveLength(1);
  });

  test('a problem names the field and never the value', () => {
    for (const text of ['pub:hunter2#', 'pub;hunter2=1:a', 'hunter2\n', 'pub:hunter2%']) {
      expect(() => parseScope(text)).toThrow(
        expect.objectContaining({ message: expect.not.stringContaining('hunter2') }),
      );
    }
  });
});

/** Any scope that can be: topics in any characters that MQTT allows. */
const topicLevel = fc
  .string({ unit: 'grapheme', maxLength: 6 })
  .map((text) => text.replace(/[+#/\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}\uFFFD]/gu, 'x'));
const filter = fc
  .tuple(
    fc.array(fc.oneof(topicLevel, fc.constant('+')), { minLength: 1, maxLength: 5 }),
    fc.constantFrom('', '/#'),
  )
  .map(([levels, end]) => levels.join('/') + end)
  .filter((text) => text !== '')
  .map((text) => parseTopicFilter(text));
const topicScope: fc.Arbitrary<TopicScope> = fc
  .record({
    action: fc.constantFrom('pub', 'sub', 'pubsub'),
    filter,
    maxQos: fc.constantFrom(0, 1, 2),
    isRetainAllowed: fc.boolean(),
  })
  .map((scope) => (scope.action === 'sub' ? { ...scope, isRetainAllowed: true } : scope));

describe('formatting', () => {
  test.each([
    { text: 'pub;qos=2;retain=1:a', is: 'pub:a' },
    { text: 'pub;retain=0;qos=1:a', is: 'pub;qos=1;retain=0:a' },
    { text: 'pub:%61%2F%62', is: 'pub:a/b' },
    { text: 'pub:a%20b%22%5c%25', is: 'pub:a%20b%22%5C%25' },
    { text: 'pub:%c3%a9', is: 'pub:%C3%A9' },
  ])('$text becomes $is', ({ text, is }) => {
    expect(formatTopicScope(parseTopicScope(text))).toBe(is);
  });

  test('parse(format(x)) is x, and formatting is canonical', () => {
    fc.assert(
      fc.property(topicScope, (scope) => {
        const text = formatTopicScope(scope);
        expect(parseTopicScope(text)).toEqual(scope);
        expect(formatTopicScope(parseTopicScope(text))).toBe(text);
      }),
    );
  });

  test('a whole set comes back too', () => {
    const plain = fc.constantFrom('orders:read', 'all', 'https://a.example');
    fc.assert(
      fc.property(fc.array(topicScope), fc.array(plain), (topicScopes, plainScopes) => {
        expect(parseScope(formatScope({ topicScopes, plainScopes }))).toEqual({
          topicScopes,
          plainScopes,
        });
      }),
    );
  });

  test('a sub scope says nothing of retained messages, which it cannot publish', () => {
    const scope = { ...parseTopicScope('sub:a'), isRetainAllowed: false };
    expect(formatTopicScope(scope)).toBe('sub:a');
  });

  test('any text is refused with a FormatError or gives a set that comes back', () => {
    const text = fc.array(
      fc.oneof(
        fc
          .tuple(
            fc.constantFrom('pub', 'sub', 'pubsub', 'x'),
            fc.stringMatching(/^[;:=%a-z0-9+#/$ ]{0,9}$/),
          )
          .map((t) => t.join('')),
        fc.string(),
      ),
      { maxLength: 3 },
    );
    fc.assert(
      fc.property(text, (values) => {
        let set: ReturnType<typeof parseScope>;
        try {
          set = parseScope(values.join(' '));
        } catch (error) {
          expect(error).toEqual(refused);
          return;
        }
        expect(parseScope(formatScope(set))).toEqual(set);
      }),
      { numRuns: 2000 },
    );
  });

  test('percentDecode is the inverse of encodeURIComponent', () => {
    fc.assert(
      fc.property(topicLevel, (text) => {
        const ascii = encodeURIComponent(text);
        expect(percentDecode(ascii)).toBe(text);
      }),
    );
  });
});

describe('scopeCovers', () => {
  const covered = (granted: string, requested: string) =>
    scopeCovers(parseScope(granted).topicScopes, parseTopicScope(requested));
  test.each([
    { granted: 'pub:a/#', requested: 'pub:a/b', is: true },
    { granted: 'pub:a/#', requested: 'sub:a/b', is: false },
    { granted: 'sub:a/#', requested: 'pub:a/b', is: false },
    { granted: 'pubsub:a/#', requested: 'pub:a/b', is: true },
    { granted: 'pubsub:a/#', requested: 'sub:a/b', is: true },
    { granted: 'pubsub:a/#', requested: 'pubsub:a/b', is: true },
    { granted: 'pub:a sub:a', requested: 'pubsub:a', is: true },
    { granted: 'pub:a', requested: 'pubsub:a', is: false },
    { granted: 'pub:a pub:a/+ pub:a/+/#', requested: 'pub:a/#', is: false },
    { granted: 'pub;qos=1:a', requested: 'pub;qos=1:a', is: true },
    { granted: 'pub;qos=1:a', requested: 'pub;qos=0:a', is: true },
    { granted: 'pub;qos=1:a', requested: 'pub:a', is: false },
    { granted: 'sub;qos=1:a', requested: 'sub:a', is: false },
    { granted: 'pub;retain=0:a', requested: 'pub;retain=0:a', is: true },
    { granted: 'pub;retain=0:a', requested: 'pub:a', is: false },
    { granted: 'pub:a', requested: 'pub;retain=0:a', is: true },
    { granted: 'pubsub;retain=0:a', requested: 'sub:a', is: true },
    { granted: 'pub;qos=0:a pub;retain=0:a', requested: 'pub:a', is: false },
    { granted: 'pub:#', requested: 'pub:$SYS/x', is: false },
    { granted: '', requested: 'pub:a', is: false },
  ])('$granted covers $requested: $is', ({ granted, requested, is }) => {
    expect(covered(granted, requested)).toBe(is);
  });

  test('whoever holds a covered scope can do nothing that the granted ones do not allow', () => {
    fc.assert(
      fc.property(
        fc.array(topicScope, { maxLength: 4 }),
        topicScope,
        fc.nat(2),
        fc.boolean(),
        (granted, wanted, qos, retain) => {
          // Widened at random, so that covering happens often enough.
          const all = [
            ...granted,
            { ...wanted, filter: parseTopicFilter(wanted.filter.replace(/\/[^/]*$/, '/#')) },
          ];
          if (!scopeCovers(all, wanted)) return;
          const topic = wanted.filter.replace(/[+#]/g, 'x');
          for (const request of [
            { action: 'publish', topic, qos, retain },
            { action: 'subscribe', topic: wanted.filter, qos },
            { action: 'receive', topic },
          ] as const) {
            if (!decide(compileTopicRights([wanted]), request).allowed) continue;
            expect(decide(compileTopicRights(all), request).allowed).toBe(true);
          }
        },
      ),
    );
  });

  test('it never says yes where no filter covers', () => {
    fc.assert(
      fc.property(fc.array(topicScope, { maxLength: 6 }), topicScope, (granted, wanted) => {
        if (!scopeCovers(granted, wanted)) return;
        expect(granted.some((entry) => covers(entry.filter, wanted.filter))).toBe(true);
      }),
    );
  });
});
