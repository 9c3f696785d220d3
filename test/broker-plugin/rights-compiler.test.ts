/** Compiled rights that clients of one template share. */
import { type ClientId, decide, parseScope, scopesOf, type TopicRights } from '@latchkey/shared';
import { expect, test } from 'vitest';
import { createRightsCompiler } from '../../broker-plugin/src/rights-compiler.ts';

const scopesFor = (id: string) => parseScope(`pub:devices/${id}/# sub:fleet/#`).topicScopes;
const of = (id: string) => id as ClientId;
const mayPublish = (rights: TopicRights, topic: string) =>
  decide(rights, { action: 'publish', topic, qos: 0, retain: false }).allowed;

test('clients of one template share what was compiled, and no right', () => {
  const compile = createRightsCompiler(100);
  const first = compile(scopesFor('t-1'), of('t-1'));
  const second = compile(scopesFor('t-2'), of('t-2'));
  expect(second.compiled).toBe(first.compiled);
  expect(mayPublish(first, 'devices/t-1/x')).toBe(true);
  expect(mayPublish(first, 'devices/t-2/x')).toBe(false);
  expect(mayPublish(second, 'devices/t-1/x')).toBe(false);
  expect(mayPublish(second, 'devices/t-2/x')).toBe(true);
  expect(scopesOf(second)).toEqual(scopesFor('t-2'));
});

test('I7: rights over the topics of another client are of another template', () => {
  const compile = createRightsCompiler(100);
  const own = compile(scopesFor('t-1'), of('t-1'));
  const foreign = compile(scopesFor('t-1'), of('t-2'));
  expect(foreign.compiled).not.toBe(own.compiled);
  expect(mayPublish(foreign, 'devices/t-1/x')).toBe(true);
  expect(mayPublish(foreign, 'devices/t-2/x')).toBe(false);
});

test('I11: the template used least lately makes room, and who has it keeps it', () => {
  // Each of the three has two scopes, and a form counts as one more.
  const compile = createRightsCompiler(6);
  const template = (name: string) =>
    compile(parseScope(`pub:${name}/t-1/# sub:fleet/#`).topicScopes, of('t-1'));
  const [a, b] = [template('a'), template('b')];
  expect(template('a').compiled).toBe(a.compiled);
  template('c');
  expect(template('a').compiled).toBe(a.compiled);
  expect(template('b').compiled).not.toBe(b.compiled);
  expect(mayPublish(b, 'b/t-1/x')).toBe(true);
});

test('I11: a template larger than the whole bound is compiled and not kept', () => {
  const compile = createRightsCompiler(2);
  const first = compile(scopesFor('t-1'), of('t-1'));
  expect(compile(scopesFor('t-1'), of('t-1')).compiled).not.toBe(first.compiled);
  expect(mayPublish(first, 'devices/t-1/x')).toBe(true);
});
