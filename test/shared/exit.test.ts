import {
  ConfigError,
  describeFailure,
  EXIT,
  FormatError,
  InvalidGrantError,
  JwtError,
  TokenRequestError,
  UnreachableError,
  UsageError,
} from '@latchkey/shared';
import { expect, test } from 'vitest';

test('the exit codes are those that scripts depend on', () => {
  expect(EXIT).toEqual({ ok: 0, failed: 1, usage: 2, unreachable: 3 });
});

test.each([
  { name: 'wrong use', error: new UsageError('no such command'), code: EXIT.usage },
  { name: 'a bad value', error: new FormatError('role', 'is bad'), code: EXIT.usage },
  { name: 'bad configuration', error: new ConfigError('a.toml', []), code: EXIT.usage },
  { name: 'nobody there', error: new UnreachableError('cannot reach x'), code: EXIT.unreachable },
  { name: 'an OAuth error', error: new InvalidGrantError('no'), code: EXIT.failed },
  {
    name: 'a refusal',
    error: new TokenRequestError('invalid_grant', '', 400, undefined),
    code: EXIT.failed,
  },
  { name: 'a refused JWT', error: new JwtError('claim', 'no'), code: EXIT.failed },
  {
    name: 'an error of the system',
    error: Object.assign(new Error('ENOENT: x'), { code: 'ENOENT' }),
    code: EXIT.failed,
  },
])('$name ends with $code and shows no stack', ({ error, code }) => {
  expect(describeFailure(error)).toEqual({ text: error.message, exitCode: code });
});

test.each([TypeError, RangeError, ReferenceError, SyntaxError])(
  '%o is a bug and shows its stack',
  (Bug) => {
    const { text, exitCode } = describeFailure(new Bug('x is undefined'));
    expect(exitCode).toBe(EXIT.failed);
    expect(text).toMatch(/x is undefined\n\s+at /);
  },
);

test('a bug without a stack shows its message', () => {
  const error = Object.assign(new TypeError('x is undefined'), { stack: undefined });
  expect(describeFailure(error)).toEqual({ text: 'x is undefined', exitCode: EXIT.failed });
});

test.each([
  { value: 'a string', text: 'a string' },
  { value: undefined, text: 'undefined' },
  { value: null, text: 'null' },
  { value: 42, text: '42' },
])('$value, thrown by somebody, ends with 1', ({ value, text }) => {
  expect(describeFailure(value)).toEqual({ text, exitCode: EXIT.failed });
});
