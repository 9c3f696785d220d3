import { parseJsonObject } from '@latchkey/shared';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

const parse = (text: string | Uint8Array) =>
  parseJsonObject(typeof text === 'string' ? Buffer.from(text) : text, 'body');
const refused = expect.objectContaining({ name: 'FormatError', field: 'body' });

describe('parseJsonObject', () => {
  test.each([
    { name: 'nothing', text: '' },
    { name: 'an array', text: '[]' },
    { name: 'null', text: 'null' },
    { name: 'a string', text: '"{}"' },
    { name: 'a number', text: '1' },
    { name: 'true', text: 'true' },
    { name: 'a comment', text: '{/* */}' },
    { name: 'a trailing comma', text: '{"a":1,}' },
    { name: 'single quotes', text: "{'a':1}" },
    { name: 'NaN', text: '{"a":NaN}' },
    { name: 'text behind', text: '{} {}' },
    { name: 'a byte order mark', text: '\ufeff{}' },
    { name: 'ill-formed UTF-8', text: Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]) },
    { name: 'a member twice', text: '{"a":1,"a":1}' },
    { name: 'a member twice, escaped', text: '{"a":1,"\\u0061":1}' },
    { name: 'a member twice, escaped in both ways', text: '{"/":1,"\\/":1}' },
    { name: 'a member twice, deep inside', text: '{"a":[[{"b":{"c":1,"d":[],"c":2}}]]}' },
    { name: 'a member twice after an object', text: '{"a":{"x":1},"b":[],"a":2}' },
    { name: 'a member twice after a string with structure', text: '{"a":"},{[:","b":1,"a":2}' },
    { name: 'a member twice after an escaped quote', text: '{"a":"\\"","b":1,"a":2}' },
    { name: '__proto__ twice', text: '{"__proto__":1,"__proto__":2}' },
  ])('refuses $name', ({ text }) => {
    expect(() => parse(text)).toThrow(refused);
  });

  test.each([
    { text: '{}' },
    { text: ' { "a" : [ { "b" : 1 } , { "b" : 2 } ] , "b" : { "a" : "a" } } ' },
    { text: '{"a":"\\"a\\":1,\\"a\\":2"}' },
    { text: '{"a":["a","a",{"a":"a"}],"b":"a"}' },
    { text: '{"a":1.0,"b":1e2}' },
    { text: '{"a":"\\u2028\\ud83c\\udf21"}' },
    { text: '{"A":1,"a":2}' },
  ])('reads $text as JSON.parse does', ({ text }) => {
    expect(parse(text)).toEqual(JSON.parse(text));
  });

  test('a member named __proto__ is a member and no prototype', () => {
    const object = parse('{"__proto__":{"admin":true}}');
    expect(Object.hasOwn(object, '__proto__')).toBe(true);
    expect(object.admin).toBeUndefined();
  });

  test('depth is no way to break it', () => {
    const deep = (n: number) => `{"a":${'['.repeat(n)}${']'.repeat(n)} }`;
    expect(parse(deep(1000))).toHaveProperty('a');
    expect(() => parse(`{"a":${'['.repeat(100_000)}`)).toThrow(refused);
  });

  test('any object comes back from any spelling, unless a member is repeated', () => {
    const names = fc.constantFrom('a', 'b', '"', '\\', '{', ':', ',', 'é');
    const object = fc.uniqueArray(fc.tuple(names, fc.jsonValue({ maxDepth: 3 })), {
      selector: ([name]) => name,
      maxLength: 5,
    });
    const spelled = (text: string, isEscaped: boolean) =>
      isEscaped
        ? `"${[...text].map((c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`).join('')}"`
        : JSON.stringify(text);
    fc.assert(
      fc.property(object, fc.boolean(), fc.boolean(), (members, isEscaped, isTwice) => {
        const texts = members.map(
          ([name, value]) => `${spelled(name, isEscaped)}: ${JSON.stringify(value)}`,
        );
        const first = members[0];
        if (isTwice && first !== undefined) texts.push(`${spelled(first[0], !isEscaped)}: 0`);
        const text = `{ ${texts.join(' , ')} }`;
        if (isTwice && first !== undefined) expect(() => parse(text)).toThrow(refused);
        else expect(parse(text)).toEqual(JSON.parse(text));
      }),
    );
  });
});
