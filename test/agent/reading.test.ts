import { hasChanged, isAboveLimit, readNumber, readText } from '@latchkey/agent/daemon';
import fc from 'fast-check';
import { expect, test } from 'vitest';

test.each([
  { text: '26543\n', scale: 0.001, value: 26.543 },
  { text: '  -3.5 C', scale: 1, value: -3.5 },
  { text: '+7', scale: 1, value: 7 },
  { text: '.5', scale: 2, value: 1 },
  { text: '5.', scale: 1, value: 5 },
  { text: '1e3', scale: 1, value: 1000 },
  { text: 'temp1: 26.5 (high = 80.0)', scale: 1, value: 26.5 },
  { text: 'temp=26.5', scale: 1, value: 26.5 },
  { text: '26.5°C', scale: 1, value: 26.5 },
  { text: '0.12 0.34 1/234', scale: 1, value: 0.12 },
  { text: '', scale: 1, value: undefined },
  { text: 'no value', scale: 1, value: undefined },
  { text: 'CPU0', scale: 1, value: undefined },
  { text: '1e999', scale: 1, value: undefined },
])('reads $text as $value', ({ text, scale, value }) => {
  expect(readNumber(text, scale)).toBe(value);
});

test('reads every number that JavaScript prints', () => {
  fc.assert(
    fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (number) => {
      expect(readNumber(`value: ${number} units`, 1)).toBe(Number(number.toPrecision(12)));
    }),
  );
});

test.each([
  { name: 'first reading on the limit is below', wasAbove: undefined, value: 26, is: false },
  { name: 'first reading past the limit', wasAbove: undefined, value: 26.1, is: true },
  { name: 'stays above inside the hysteresis', wasAbove: true, value: 25.6, is: true },
  { name: 'falls at the hysteresis', wasAbove: true, value: 25.5, is: false },
  { name: 'stays below inside the hysteresis', wasAbove: false, value: 26, is: false },
  { name: 'rises past the limit', wasAbove: false, value: 26.01, is: true },
])('limit: $name', ({ wasAbove, value, is }) => {
  expect(isAboveLimit({ above: 26, hysteresis: 0.5 }, wasAbove, value)).toBe(is);
});

const numbers = { reads: 'number', field: undefined, scale: 1 } as const;
const json = { ...numbers, reads: 'json' } as const;
const deep = (levels: number) => '['.repeat(levels) + ']'.repeat(levels);

test.each([
  { text: ' up \n', how: { ...numbers, reads: 'text' }, value: 'up', number: undefined },
  { text: '7 of 9', how: { ...numbers, scale: 0.1 }, value: 0.7, number: 0.7 },
  { text: '7', how: json, value: 7, number: 7 },
  { text: '"7"', how: json, value: '7', number: undefined },
  { text: 'null', how: json, value: null, number: undefined },
  { text: '{"a":{"b":7}}', how: { ...json, field: 'a.b' }, value: { a: { b: 7 } }, number: 7 },
  { text: deep(32), how: json, value: JSON.parse(deep(32)), number: undefined },
] as const)('$text says $value', ({ text, how, value, number }) => {
  expect(readText(text, how)).toEqual({ value, number });
});

test.each([
  { name: 'nothing', text: '', how: json },
  { name: 'half of an object', text: '{', how: json },
  { name: 'too many levels', text: deep(33), how: json },
  { name: 'a member of the prototype', text: '{}', how: { ...json, field: 'toString.length' } },
  { name: 'the length of an array', text: '{"a":[]}', how: { ...json, field: 'a.length.x' } },
  { name: 'a number beyond all', text: '{"a":1e999}', how: { ...json, field: 'a' } },
  { name: 'a number as text', text: '{"a":"1"}', how: { ...json, field: 'a' } },
])('there is no reading in: $name', ({ text, how }) => {
  expect(readText(text, how)).toEqual(expect.any(String));
});

const reading = (value: number) => ({ value, number: value });
test.each([
  { name: 'the first one', before: undefined, now: reading(1), by: 5, is: true },
  {
    name: 'as much as allowed, in binary more',
    before: reading(4),
    now: reading(4.2),
    by: 0.2,
    is: false,
  },
  { name: 'more', before: reading(4), now: reading(4.201), by: 0.2, is: true },
  { name: 'more, downwards', before: reading(4), now: reading(3.799), by: 0.2, is: true },
  { name: 'the same, by 0', before: reading(4), now: reading(4), by: 0, is: false },
  {
    name: 'another text',
    before: { value: 'a', number: undefined },
    now: { value: 'b', number: undefined },
    by: 9,
    is: true,
  },
  {
    name: 'an equal object',
    before: { value: { a: [1] }, number: undefined },
    now: { value: { a: [1] }, number: undefined },
    by: 9,
    is: false,
  },
  {
    name: 'another object with the same number',
    before: { value: { a: 1, b: 1 }, number: 1 },
    now: { value: { a: 1, b: 2 }, number: 1 },
    by: 0,
    is: false,
  },
  {
    name: 'a text after a number',
    before: reading(1),
    now: { value: 'off', number: undefined },
    by: 9,
    is: true,
  },
])('changed: $name', ({ before, now, by, is }) => {
  expect(hasChanged(before, now, by)).toBe(is);
});
