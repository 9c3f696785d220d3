import { isAboveLimit, readNumber } from '@latchkey/agent/daemon';
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
