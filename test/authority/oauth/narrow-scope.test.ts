/** Narrowing: whatever comes out is allowed by both sides, and nothing that both allow plainly is lost. */
import { narrowTopicScope } from '@latchkey/authority';
import { formatTopicScope, parseTopicScope, scopeCovers, type TopicScope } from '@latchkey/shared';
import fc from 'fast-check';
import { expect, test } from 'vitest';

const narrow = (own: readonly string[], requested: string) =>
  narrowTopicScope(
    own.map((text) => parseTopicScope(text)),
    parseTopicScope(requested),
  ).map(formatTopicScope);

test.each([
  { name: 'what is covered stays', own: ['pub:a/#'], requested: 'pub:a/b', is: ['pub:a/b'] },
  {
    name: 'a wider filter',
    own: ['pub:a/#', 'pub:b/+'],
    requested: 'pub:#',
    is: ['pub:a/#', 'pub:b/+'],
  },
  { name: 'both actions', own: ['pub:a', 'sub:b'], requested: 'pubsub:#', is: ['pub:a', 'sub:b'] },
  { name: 'one of two actions', own: ['pubsub:a'], requested: 'sub:#', is: ['sub:a'] },
  { name: 'the other action', own: ['pub:a'], requested: 'sub:a', is: [] },
  { name: 'a lower QoS', own: ['sub:a/#'], requested: 'sub;qos=0:#', is: ['sub;qos=0:a/#'] },
  { name: 'a higher QoS', own: ['sub;qos=1:a/#'], requested: 'sub:a/b', is: ['sub;qos=1:a/b'] },
  { name: 'retain', own: ['pub;retain=0:a'], requested: 'pub:a', is: ['pub;retain=0:a'] },
  { name: 'filters that only overlap', own: ['pub:a/+'], requested: 'pub:+/b', is: [] },
  { name: 'something else', own: ['pub:a'], requested: 'pub:b', is: [] },
  { name: 'nothing of one’s own', own: [], requested: 'pub:#', is: [] },
  { name: '$ topics are not below #', own: ['sub:$SYS/x'], requested: 'sub:#', is: [] },
])('$name', ({ own, requested, is }) => {
  expect(narrow(own, requested)).toEqual(is);
});

const topicScope = fc
  .record({
    action: fc.constantFrom('pub', 'sub', 'pubsub'),
    qos: fc.constantFrom('', ';qos=0', ';qos=1'),
    retain: fc.constantFrom('', ';retain=0'),
    filter: fc.constantFrom('#', 'a', 'a/#', 'a/+', '+/b', 'a/b', '+', 'b/+/c', '$x/#'),
  })
  .map(({ action, qos, retain, filter }) =>
    parseTopicScope(`${action}${qos}${action === 'sub' ? '' : retain}:${filter}`),
  );

test('nothing that comes out is wider than the request or than the rights', () => {
  fc.assert(
    fc.property(fc.array(topicScope, { maxLength: 4 }), topicScope, (own, requested) => {
      for (const scope of narrowTopicScope(own, requested)) {
        expect(scopeCovers(own, scope)).toBe(true);
        expect(scopeCovers([requested], scope)).toBe(true);
      }
    }),
  );
});

test('rights that the request covers come out whole', () => {
  fc.assert(
    fc.property(fc.array(topicScope, { maxLength: 4 }), topicScope, (own, requested) => {
      const result = narrowTopicScope(own, requested);
      const covered = own.filter((scope: TopicScope) => scopeCovers([requested], scope));
      for (const scope of covered) expect(scopeCovers(result, scope)).toBe(true);
    }),
  );
});
