import { compileTopicRights, decide, parseTopicScope } from '@latchkey/shared';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { linearRights } from '../bench/suites/linear-rights.ts';
import { allFilters, allTopics } from '../helpers/topic-model.ts';

test('the loop that decide is measured against gives the same answers', () => {
  const filters = allFilters(['a', '', '$s'], 3);
  const requests = [
    ...filters,
    ...allTopics(['a', '', '$s', 'z'], 3),
    '',
    'a+',
    'a#',
    '#/a',
    'a\0',
    '/'.repeat(100),
  ];
  const scope = fc
    .tuple(
      fc.constantFrom('pub', 'sub', 'pubsub'),
      fc.constantFrom('', ';qos=0', ';qos=1'),
      fc.constantFrom(...filters),
    )
    .map(([action, qos, filter]) => parseTopicScope(`${action}${qos}:${filter}`));
  fc.assert(
    fc.property(fc.array(scope, { maxLength: 5 }), fc.nat(2), (scopes, qos) => {
      const rights = compileTopicRights(scopes);
      const loop = linearRights(scopes);
      for (const topic of requests) {
        const publish = decide(rights, { action: 'publish', topic, qos, retain: false });
        expect(loop.allowsPublish(topic, qos, false), topic).toBe(publish.allowed);
        const subscribe = decide(rights, { action: 'subscribe', topic, qos });
        expect(loop.allowsSubscribe(topic, qos), topic).toBe(subscribe.allowed);
      }
    }),
  );
});
