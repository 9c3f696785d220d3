import {
  bindTopicRights,
  type ClientId,
  compileTemplate,
  compileTopicRights,
  covers,
  type Decision,
  decide,
  formatTopicScope,
  matches,
  parseScope,
  parseTopicFilter,
  parseTopicScope,
  type Qos,
  rightsCover,
  scopeCovers,
  scopesOf,
  type TopicFilter,
  type TopicName,
  type TopicRequest,
  type TopicScope,
  templateTextOf,
} from '@latchkey/shared';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { allFilters, allTopics, hasBit, isSubset, modelBits } from '../helpers/topic-model.ts';

const rights = (scope: string) => compileTopicRights(parseScope(scope).topicScopes);
const publish = (topic: string, qos = 0, retain = false): TopicRequest => ({
  action: 'publish',
  topic,
  qos,
  retain,
});
const subscribe = (topic: string, qos = 0): TopicRequest => ({ action: 'subscribe', topic, qos });
const receive = (topic: string): TopicRequest => ({ action: 'receive', topic });
/** What a row expects: the text of the scope that allowed, or the reason and the nearest scope. */
const outcome = (decision: Decision) =>
  decision.allowed
    ? formatTopicScope(decision.scope)
    : [decision.reason, decision.nearest && formatTopicScope(decision.nearest)];

const OPEN = { action: 'pubsub', maxQos: 2 as Qos, isRetainAllowed: true } as const;
const THERMOSTAT = 'pub;qos=1;retain=0:devices/t-42/telemetry/# sub:devices/t-42/commands/+';

describe('decide', () => {
  const telemetry = 'pub;qos=1;retain=0:devices/t-42/telemetry/#';
  const commands = 'sub:devices/t-42/commands/+';
  test.each([
    { request: publish('devices/t-42/telemetry/t'), is: telemetry },
    { request: publish('devices/t-42/telemetry'), is: telemetry },
    { request: publish('devices/t-42/telemetry/t', 1), is: telemetry },
    { request: publish('devices/t-42/telemetry/t', 2), is: ['qos-too-high', telemetry] },
    {
      request: publish('devices/t-42/telemetry/t', 1, true),
      is: ['retain-not-allowed', telemetry],
    },
    { request: publish('devices/t-42/telemetry/t', 2, true), is: ['qos-too-high', telemetry] },
    { request: publish('devices/t-43/telemetry/t'), is: ['no-scope', telemetry] },
    { request: publish('devices/t-42/commands/reboot'), is: ['no-scope', telemetry] },
    { request: publish('devices/t-42/telemetry/+'), is: ['topic-invalid', undefined] },
    { request: publish(''), is: ['topic-invalid', undefined] },
    { request: subscribe('devices/t-42/commands/reboot', 2), is: commands },
    { request: subscribe('devices/t-42/commands/+', 2), is: commands },
    { request: subscribe('devices/t-42/commands/#'), is: ['no-scope', commands] },
    { request: subscribe('devices/+/commands/+'), is: ['no-scope', commands] },
    { request: subscribe('#'), is: ['no-scope', commands] },
    { request: subscribe('devices/t-42/telemetry/#'), is: ['no-scope', commands] },
    { request: subscribe('devices/t-42/commands/a+'), is: ['topic-invalid', undefined] },
    { request: subscribe('$share/g/devices/t-42/commands/+'), is: ['no-scope', commands] },
    { request: receive('devices/t-42/commands/reboot'), is: commands },
    { request: receive('devices/t-42/telemetry/t'), is: ['no-scope', commands] },
    { request: receive('devices/t-42/commands/+'), is: ['topic-invalid', undefined] },
  ])('$request.action $request.topic, QoS $request.qos, retain $request.retain', (row) => {
    expect(outcome(decide(rights(THERMOSTAT), row.request))).toEqual(row.is);
  });

  test.each([-1, 3, 0.5, Number.NaN, Number.POSITIVE_INFINITY, '1', null, undefined])(
    'a QoS of %s is refused',
    (qos) => {
      const request = { action: 'publish', topic: 'a', qos, retain: false } as TopicRequest;
      expect(outcome(decide(rights('pubsub:#'), request))).toEqual(['qos-too-high', undefined]);
      const subscription = { action: 'subscribe', topic: 'a', qos } as TopicRequest;
      expect(decide(rights('pubsub:#'), subscription).allowed).toBe(false);
    },
  );

  test.each(['read', 'PUBLISH', '', 'constructor'])('the action "%s" is refused', (action) => {
    const request = { action, topic: 'a', qos: 0 } as unknown as TopicRequest;
    expect(outcome(decide(rights('pubsub:#'), request))).toEqual(['no-scope', undefined]);
  });

  test.each([publish('a'), subscribe('a'), receive('a')])(
    'without scopes $action is refused',
    (r) => {
      expect(decide(rights(''), r)).toEqual({
        allowed: false,
        reason: 'no-scope',
        detail: 'no scope has this action',
        nearest: undefined,
      });
    },
  );

  test('a scope of the other action gives nothing, and is not called near', () => {
    expect(outcome(decide(rights('sub:a'), publish('a')))).toEqual(['no-scope', undefined]);
    expect(outcome(decide(rights('pub:a'), subscribe('a')))).toEqual(['no-scope', undefined]);
    expect(outcome(decide(rights('pub:a'), receive('a')))).toEqual(['no-scope', undefined]);
  });

  test('$ topics need a scope that begins with that level', () => {
    const broad = rights('pubsub:# pubsub:+/x');
    for (const topic of ['$SYS/x', '$share/g/x', '$queue/x', '$']) {
      expect(decide(broad, publish(topic)).allowed).toBe(false);
      expect(decide(broad, subscribe(topic)).allowed).toBe(false);
      expect(decide(broad, receive(topic)).allowed).toBe(false);
    }
    expect(decide(rights('sub:$SYS/#'), receive('$SYS/x')).allowed).toBe(true);
  });

  test('entries are not added up: a union that would cover is refused', () => {
    const both = rights('sub:a sub:a/+ sub:a/+/#');
    expect(decide(both, subscribe('a/#')).allowed).toBe(false);
    const options = rights('pub;qos=0:a pub;retain=0:a');
    expect(outcome(decide(options, publish('a', 2, true)))[0]).toBe('retain-not-allowed');
  });

  test('the denial says which scope is in the way, and how', () => {
    expect(decide(rights('pub;qos=1:a'), publish('a', 2))).toMatchObject({
      detail: 'pub;qos=1:a allows at most QoS 1',
    });
    expect(decide(rights('pub;retain=0:a'), publish('a', 0, true))).toMatchObject({
      detail: 'pub;retain=0:a forbids retained messages',
    });
    expect(decide(rights('pub:a/b'), publish('a/c'))).toMatchObject({
      detail: 'no scope covers the topic; the nearest is pub:a/b',
    });
  });

  test.each([
    { topic: 'devices/d3/x', is: 'pub:devices/d3/x' },
    { topic: 'devices/d3/q', is: ['no-scope', 'pub:devices/d3/x'] },
    { topic: 'devices/d3/y/z/q', is: ['no-scope', 'pub:devices/d3/y/z/end'] },
    { topic: 'devices/d9/x', is: ['no-scope', 'pub:devices/d0/x'] },
    { topic: 'other', is: ['no-scope', 'pub:devices/d0/x'] },
  ])('with scopes for many devices, $topic', ({ topic, is }) => {
    const scopes = Array.from({ length: 9 }, (_, i) => `pub:devices/d${i}/x`);
    const many = rights([...scopes, 'pub:devices/d3/y/z/end'].join(' '));
    expect(outcome(decide(many, publish(topic)))).toEqual(is);
  });

  test('the denial holds nothing from the wire', () => {
    for (const topic of ['hunter2', 'a/hunter2', 'hunter2/#/x']) {
      expect(JSON.stringify(decide(rights('pub:a/b'), publish(topic)))).not.toContain('hunter2');
    }
  });

  test('rights cannot be changed after compiling', () => {
    const scopes: TopicScope[] = [parseTopicScope('pub:a')];
    const compiled = compileTopicRights(scopes);
    scopes.push(parseTopicScope('pub:b'));
    expect(decide(compiled, publish('b')).allowed).toBe(false);
    expect(Object.isFrozen(compiled) && Object.isFrozen(compiled.compiled.publish.literals)).toBe(
      true,
    );
    expect(Object.isFrozen(decide(compiled, publish('a')))).toBe(true);
  });

  test('100 levels with 1,024 scopes that fork at every level are decided at once', () => {
    const deep = Array.from({ length: 1024 }, (_, i) =>
      parseTopicScope(
        `pub:${[...i.toString(2).padStart(99, '0')].map((b) => (b === '1' ? 'a' : '+')).join('/')}/end`,
      ),
    );
    const topic = `${Array(99).fill('a').join('/')}/no`;
    const compiled = compileTopicRights(deep);
    const begin = performance.now();
    expect(decide(compiled, publish(topic)).allowed).toBe(false);
    expect(performance.now() - begin).toBeLessThan(250);
  });
});

describe('one scope against the brute-force model', () => {
  const filters = allFilters(['a', '', '$s'], 4) as readonly TopicFilter[];
  const names = allTopics(['a', '', '$s', 'z'], 5) as readonly TopicName[];
  const bits = filters.map((text) => modelBits(text, names));
  const compiled = filters.map((text) => rights(formatTopicScope({ ...OPEN, filter: text })));

  test('subscribe equals containment', () => {
    const wrong: string[] = [];
    for (const [i, one] of compiled.entries()) {
      for (const [j, requested] of filters.entries()) {
        const { allowed } = decide(one, subscribe(requested));
        if (allowed !== isSubset(bits[j]!, bits[i]!)) wrong.push(`${filters[i]} ~ ${requested}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test.each([
    { action: 'publish', request: publish },
    { action: 'receive', request: receive },
  ])('$action equals matching', ({ request }) => {
    const wrong: string[] = [];
    for (const [i, one] of compiled.entries()) {
      for (const [n, topic] of names.entries()) {
        const { allowed } = decide(one, request(topic));
        if (allowed !== hasBit(bits[i]!, n)) wrong.push(`${filters[i]} ~ ${topic}`);
      }
    }
    expect(wrong).toEqual([]);
  });
});

const literal = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', '', '$s');
const filterOf = (levels: fc.Arbitrary<string>) =>
  fc
    .tuple(fc.array(levels, { maxLength: 4 }), fc.constantFrom(undefined, '#'))
    .map(([some, end]) => (end === undefined ? some : [...some, end]).join('/'))
    .filter((text) => text !== '')
    .map((text) => parseTopicFilter(text));
const narrow = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom('a', 'b', '') },
  { weight: 1, arbitrary: literal },
  { weight: 1, arbitrary: fc.constant('+') },
);
const anyFilter = fc.oneof(filterOf(narrow), filterOf(fc.oneof(literal, fc.constant('+'))));
const scope: fc.Arbitrary<TopicScope> = fc.record({
  action: fc.constantFrom('pub', 'sub', 'pubsub'),
  filter: anyFilter,
  maxQos: fc.constantFrom(0, 1, 2),
  isRetainAllowed: fc.boolean(),
});
const request: fc.Arbitrary<TopicRequest> = fc
  .record({
    action: fc.constantFrom('publish', 'subscribe', 'receive'),
    topic: anyFilter,
    qos: fc.constantFrom(0, 1, 2),
    retain: fc.boolean(),
  })
  .map((r) => (r.action === 'subscribe' ? r : { ...r, topic: r.topic.replace(/[+#]/g, 'a') }));

describe('random sets of scopes against a loop over the entries', () => {
  // More than six literal levels, so that nodes with a Map of children occur.
  /** Levels in common from the left: `+` is equal to any, and `#` is no level. */
  const shared = (filter: string, topic: string): number => {
    // '#' and '/#' have no name that is shorter than these.
    const shortest = topic === '#' ? '+/#' : topic.replace(/^\/#$/, '/+/#');
    const [s, q] = [filter.split('/'), shortest.split('/')];
    const differing = q.findIndex((level, i) => s[i] !== '+' && (s[i] === '#' || s[i] !== level));
    return differing === -1 ? q.length : differing;
  };

  const loop = (scopes: readonly TopicScope[], r: TopicRequest) => {
    const ofAction = scopes.filter((s) => s.action !== (r.action === 'publish' ? 'sub' : 'pub'));
    const fits = (s: TopicScope, qos: number, retain: boolean) =>
      (r.action === 'subscribe'
        ? covers(s.filter, r.topic as TopicFilter)
        : matches(s.filter, r.topic as TopicName)) &&
      s.maxQos >= qos &&
      (s.isRetainAllowed || !retain);
    const qos = r.action === 'receive' ? 0 : r.qos;
    const retain = r.action === 'publish' && r.retain;
    const allowedBy = ofAction.filter((s) => fits(s, qos, retain));
    const withoutRetain = ofAction.filter((s) => fits(s, qos, false));
    const withoutQos = ofAction.filter((s) => fits(s, 0, false));
    const mostShared = Math.max(...ofAction.map((s) => shared(s.filter, r.topic)));
    const nearest = ofAction.filter((s) => shared(s.filter, r.topic) === mostShared);
    if (allowedBy.length > 0) return { reason: undefined, scopes: allowedBy };
    if (withoutRetain.length > 0) return { reason: 'retain-not-allowed', scopes: withoutRetain };
    if (withoutQos.length > 0) return { reason: 'qos-too-high', scopes: withoutQos };
    return { reason: 'no-scope', scopes: nearest };
  };

  test('the tree and the loop agree on the answer, the reason and the scope named', () => {
    const seen = new Map<string | undefined, number>();
    fc.assert(
      fc.property(
        fc.array(scope, { maxLength: 40, size: 'max' }),
        fc.array(request, { minLength: 8, maxLength: 8 }),
        (scopes, requests) => {
          const compiled = compileTopicRights(scopes);
          for (const r of requests) {
            const expected = loop(scopes, r);
            const decision = decide(compiled, r);
            const named = decision.allowed ? decision.scope : decision.nearest;
            expect(decision.allowed ? undefined : decision.reason).toBe(expected.reason);
            if (named === undefined) expect(expected.scopes).toEqual([]);
            else expect(expected.scopes).toContain(named);
            seen.set(expected.reason, (seen.get(expected.reason) ?? 0) + 1);
          }
        },
      ),
      { numRuns: 2000 },
    );
    for (const reason of [undefined, 'no-scope', 'qos-too-high', 'retain-not-allowed']) {
      expect(seen.get(reason)).toBeGreaterThan(50);
    }
  });

  test('more scopes never allow less', () => {
    fc.assert(
      fc.property(fc.array(scope, { maxLength: 12 }), scope, request, (scopes, more, r) => {
        fc.pre(decide(compileTopicRights(scopes), r).allowed);
        expect(decide(compileTopicRights([...scopes, more]), r).allowed).toBe(true);
      }),
    );
  });

  test('rights cover a scope exactly when one of their entries does, action by action', () => {
    let covered = 0;
    fc.assert(
      fc.property(fc.array(scope, { maxLength: 12 }), scope, (scopes, wanted) => {
        const isCovered = scopeCovers(scopes, wanted);
        expect(rightsCover(compileTopicRights(scopes), wanted)).toBe(isCovered);
        if (isCovered) covered += 1;
      }),
      { numRuns: 5000 },
    );
    expect(covered).toBeGreaterThan(50);
  });
});

describe('rights bound to a client', () => {
  const of = (id: string) => id as ClientId;
  const bound = (scope: string, id: string) => {
    const { topicScopes } = parseScope(scope);
    return bindTopicRights(compileTemplate(topicScopes, of(id)), of(id));
  };
  const text = (scope: string, id: string) => templateTextOf(parseScope(scope).topicScopes, of(id));

  test.each([
    { request: publish('devices/t-42/telemetry/t', 1), is: true },
    { request: publish('devices/t-4/telemetry/t', 1), is: false },
    { request: publish('devices/t-421/telemetry/t', 1), is: false },
    { request: publish('devices/t-42', 1), is: false },
    { request: publish('devices//telemetry/t', 1), is: false },
    { request: publish('devices/\u0000/telemetry/t', 1), is: false },
    { request: subscribe('devices/t-42/commands/+'), is: true },
    { request: subscribe('devices/+/commands/+'), is: false },
    { request: receive('devices/t-42/commands/reboot'), is: true },
    { request: receive('devices/t-43/commands/reboot'), is: false },
  ])('$request.action $request.topic: $is', ({ request, is }) => {
    expect(decide(bound(THERMOSTAT, 't-42'), request).allowed).toBe(is);
  });

  test('what one client may, no other of the template may in its name', () => {
    const { topicScopes } = parseScope(THERMOSTAT);
    const template = compileTemplate(topicScopes, of('t-42'));
    const other = bindTopicRights(template, of('t-7'));
    expect(decide(other, publish('devices/t-42/telemetry/t')).allowed).toBe(false);
    expect(outcome(decide(other, publish('devices/t-7/telemetry/t')))).toBe(
      'pub;qos=1;retain=0:devices/t-7/telemetry/#',
    );
  });

  test.each([
    { first: publish('a', 1), next: publish('a', 2), is: ['qos-too-high', 'pub;qos=1;retain=0:a'] },
    {
      first: publish('a', 1),
      next: publish('a', 1, true),
      is: ['retain-not-allowed', 'pub;qos=1;retain=0:a'],
    },
    { first: publish('a', 1), next: publish('a', 0), is: 'pub;qos=1;retain=0:a' },
    { first: publish('a'), next: publish('b'), is: ['no-scope', 'pub;qos=1;retain=0:a'] },
    { first: publish('a'), next: receive('a'), is: ['no-scope', 'sub:c/#'] },
    { first: publish('a'), next: subscribe('a'), is: ['no-scope', 'sub:c/#'] },
    { first: receive('c/d'), next: publish('c/d'), is: ['no-scope', 'pub;qos=1;retain=0:a'] },
    { first: receive('c/d'), next: receive('c/e'), is: 'sub:c/#' },
    { first: receive('c/d'), next: receive('c/#'), is: ['topic-invalid', undefined] },
    { first: receive('c/d'), next: subscribe('c/d', 3), is: ['qos-too-high', undefined] },
  ])('what was allowed before decides nothing else: $first, $next', ({ first, next, is }) => {
    const mine = rights('pub;qos=1;retain=0:a sub:c/#');
    expect(decide(mine, first).allowed).toBe(true);
    expect(outcome(decide(mine, next))).toEqual(is);
    expect(decide(mine, first).allowed).toBe(true);
  });

  test.each([256, 257])('a topic of %i characters is decided, and decided again', (length) => {
    const mine = rights('pub:#');
    const topic = 'x'.repeat(length);
    for (const text of [topic, topic, `${topic.slice(1)}y`]) {
      expect(decide(mine, publish(text)).allowed).toBe(true);
    }
  });

  test('I11: only a topic of up to 256 characters is remembered', () => {
    const mine = rights('pub:#');
    decide(mine, publish('x'.repeat(257)));
    expect(mine.memory.publication).toBeUndefined();
    decide(mine, publish('x'.repeat(256)));
    expect(mine.memory.publication?.topic).toHaveLength(256);
  });

  test('allowing again answers with the same frozen object', () => {
    const mine = bound(THERMOSTAT, 't-42');
    const first = decide(mine, publish('devices/t-42/telemetry/t'));
    expect(decide(mine, publish('devices/t-42/telemetry/u'))).toBe(first);
    expect(Object.isFrozen(mine) && Object.isFrozen(first)).toBe(true);
  });

  test.each([
    { name: 'another id', a: ['pub:d/x/t', 'x'], b: ['pub:d/y/t', 'y'], isSame: true },
    {
      name: 'the id of somebody else',
      a: ['pub:d/x/t', 'x'],
      b: ['pub:d/x/t', 'y'],
      isSame: false,
    },
    { name: 'an id inside a level', a: ['pub:d/x1', 'x'], b: ['pub:d/y1', 'y'], isSame: false },
    { name: 'another action', a: ['pub:x', 'x'], b: ['sub:y', 'y'], isSame: false },
    { name: 'another QoS', a: ['pub;qos=1:x', 'x'], b: ['pub:y', 'y'], isSame: false },
    { name: 'another retain', a: ['pub;retain=0:x', 'x'], b: ['pub:y', 'y'], isSame: false },
    { name: 'another number', a: ['pub:x pub:x', 'x'], b: ['pub:y', 'y'], isSame: false },
  ])('templates are told apart: $name', ({ a: [a = '', x = ''], b: [b = '', y = ''], isSame }) => {
    expect(text(a, x) === text(b, y)).toBe(isSame);
  });

  test('decides, names and covers as rights that were compiled alone, for another client too', () => {
    const ids = ['a', 'b', 'x', '1'];
    fc.assert(
      fc.property(
        fc.array(scope, { maxLength: 40, size: 'max' }),
        fc.array(request, { minLength: 8, maxLength: 8 }),
        fc.constantFrom(...ids),
        scope,
        (scopes, requests, id, wanted) => {
          const alone = compileTopicRights(scopes);
          const mine = bindTopicRights(compileTemplate(scopes, of(id)), of(id));
          expect(scopesOf(mine)).toEqual(scopes);
          expect(rightsCover(mine, wanted)).toBe(rightsCover(alone, wanted));
          for (const r of [...requests, ...requests]) {
            const fresh = compileTopicRights(scopes);
            expect(decide(mine, r)).toEqual(decide(fresh, r));
            expect(decide(mine, r)).toEqual(decide(alone, r));
          }
          // The same for a client whose scopes have its id where these have that one's.
          const rename = (filter: string) =>
            filter
              .split('/')
              .map((level) => (level === id ? 'other' : level))
              .join('/') as TopicFilter;
          const theirs = scopes.map((one) => ({ ...one, filter: rename(one.filter) }));
          expect(templateTextOf(theirs, of('other'))).toBe(templateTextOf(scopes, of(id)));
          const bindOther = bindTopicRights(compileTemplate(scopes, of(id)), of('other'));
          const aloneOther = compileTopicRights(theirs);
          for (const r of requests) {
            const topic = rename(r.topic);
            expect(decide(bindOther, { ...r, topic })).toEqual(decide(aloneOther, { ...r, topic }));
          }
        },
      ),
      { numRuns: 1000 },
    );
  });
});
