import {
  type ConfigProblem,
  parseConfigText,
  parsedBy,
  parseIssuer,
  parseWith,
} from '@latchkey/shared';
import * as v from 'valibot';
import { describe, expect, test } from 'vitest';

const schema = v.strictObject({
  issuer: v.pipe(v.string(), parsedBy(parseIssuer)),
  log_level: v.optional(v.picklist(['debug', 'info'])),
  password_file: v.optional(v.string()),
  listen: v.optional(
    v.array(
      v.strictObject({
        type: v.literal('tcp'),
        port: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535)),
      }),
    ),
    [],
  ),
  homepage: v.optional(v.pipe(v.string(), v.url())),
  name: v.optional(v.pipe(v.string(), v.maxLength(4, 'is too long'))),
});
const GOOD = { issuer: 'https://id.example', listen: [{ type: 'tcp', port: 1 }] };

function problems(value: unknown): readonly ConfigProblem[] {
  try {
    parseWith(schema, value, 'broker.toml');
  } catch (error) {
    expect(error).toMatchObject({ name: 'ConfigError' });
    return (error as { problems: readonly ConfigProblem[] }).problems;
  }
  return [];
}

describe('parseWith', () => {
  test('gives the parsed value with its defaults', () => {
    expect(parseWith(schema, { issuer: 'https://id.example' }, 'x')).toEqual({
      issuer: 'https://id.example',
      listen: [],
    });
  });

  test.each([
    { name: 'nothing', value: undefined, path: '', message: 'is missing' },
    { name: 'an array', value: [], path: 'issuer', message: 'is missing' },
    { name: 'a string', value: 'x', path: '', message: 'must be Object' },
    { name: 'a missing member', value: {}, path: 'issuer', message: 'is missing' },
    { name: 'a wrong type', value: { issuer: 7 }, path: 'issuer', message: 'must be string' },
    {
      name: 'what our parser refuses',
      value: { issuer: 'http://id.example' },
      path: 'issuer',
      message: 'must use https (http is for loopback only)',
    },
    {
      name: 'a value off the list',
      value: { ...GOOD, log_level: 'hunter2' },
      path: 'log_level',
      message: 'must be ("debug" | "info")',
    },
    {
      name: 'a bound',
      value: { ...GOOD, listen: [{ type: 'tcp', port: 0 }] },
      path: 'listen.0.port',
      message: 'must be >=1 (min value)',
    },
    {
      name: 'a fraction',
      value: { ...GOOD, listen: [{ type: 'tcp', port: 1.5 }] },
      path: 'listen.0.port',
      message: 'is not a valid integer',
    },
    {
      name: 'a missing member inside',
      value: { ...GOOD, listen: [{ type: 'tcp' }] },
      path: 'listen.0.port',
      message: 'is missing',
    },
    {
      name: 'a check with words of its own',
      value: { ...GOOD, name: 'hunter2' },
      path: 'name',
      message: 'is too long',
    },
    {
      name: 'a check without an expectation',
      value: { ...GOOD, homepage: 'hunter2' },
      path: 'homepage',
      message: 'is not a valid url',
    },
    {
      name: 'an unknown key',
      value: { ...GOOD, colour: 1 },
      path: 'colour',
      message: 'unknown key',
    },
    {
      name: 'an unknown key inside',
      value: { ...GOOD, listen: [{ type: 'tcp', port: 1, tls: true }] },
      path: 'listen.0.tls',
      message: 'unknown key',
    },
    {
      name: 'the key __proto__',
      value: JSON.parse('{"issuer":"https://id.example","__proto__":1}'),
      path: '__proto__',
      message: 'unknown key',
    },
  ])('says what is wrong: $name', ({ value, path, message }) => {
    expect(problems(value)).toEqual([{ path, message }]);
  });

  test('lists all problems at once, and every unknown key', () => {
    const value = {
      issuer: 'x',
      log_level: 1,
      a: 1,
      b: 1,
      listen: [
        { type: 'udp', port: 'x', c: 1, d: 1 },
        { type: 'tcp', port: 1, e: 1 },
      ],
    };
    expect(
      problems(value)
        .map(({ path }) => path)
        .sort(),
    ).toEqual([
      'a',
      'b',
      'issuer',
      'listen.0.c',
      'listen.0.d',
      'listen.0.port',
      'listen.0.type',
      'listen.1.e',
      'log_level',
    ]);
  });

  test('the search for unknown keys is bounded', () => {
    const many = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`key${i}`, i]));
    const found = problems({ ...GOOD, ...many });
    expect(found.length).toBeLessThan(25);
    expect(new Set(found.map(({ path }) => path)).size).toBe(found.length);
  });

  test('a key that was unknown only after a transformation is named once', () => {
    const inner = v.pipe(
      v.string(),
      v.transform((text): unknown => JSON.parse(text)),
      v.strictObject({}),
    );
    expect(() =>
      parseWith(v.strictObject({ text: inner }), { text: '{"a":1,"b":2}' }, 'x'),
    ).toThrow(
      expect.objectContaining({
        problems: expect.arrayContaining([{ path: 'text.a', message: 'unknown key' }]),
      }),
    );
  });

  test('no value is echoed, whatever is wrong with it', () => {
    const secret = 'hunter2';
    for (const value of [
      secret,
      { issuer: secret },
      { issuer: `https://user:${secret}@id.example` },
      { ...GOOD, log_level: secret, homepage: secret, name: secret, password_file: [secret] },
      { ...GOOD, colour: secret, listen: [{ type: secret, port: secret, x: secret }, secret] },
    ]) {
      expect(problems(value)).not.toEqual([]);
      expect(JSON.stringify(problems(value))).not.toContain(secret);
    }
  });

  test('the value itself is not changed by the search', () => {
    const value = { ...GOOD, a: 1, listen: [{ type: 'tcp', port: 1, b: 1 }] };
    const before = structuredClone(value);
    problems(value);
    expect(value).toEqual(before);
  });
});

describe('parseConfigText', () => {
  test('reads TOML', () => {
    const text = 'issuer = "https://id.example"\n[[listen]]\ntype = "tcp"\nport = 1883\n';
    expect(parseConfigText(schema, text, 'broker.toml').listen).toEqual([
      { type: 'tcp', port: 1883 },
    ]);
  });

  test.each([
    'issuer',
    'issuer =',
    'issuer = hunter2',
    'issuer = "hunter2',
    'a = 1\na = "hunter2"',
    '[a\nhunter2',
    'a = "\\qhunter2"',
  ])('%j is refused with its place, and the file is not quoted', (text) => {
    expect(() => parseConfigText(schema, text, 'broker.toml')).toThrow(
      expect.objectContaining({
        name: 'ConfigError',
        message: expect.not.stringContaining('hunter2'),
        problems: [
          {
            path: expect.stringMatching(/^line [12], column \d+$/),
            message: expect.stringMatching(/^Invalid TOML document: [^\n]+$/),
          },
        ],
      }),
    );
  });

  test('a mistake of the caller is not called a mistake of the file', () => {
    expect(() => parseConfigText(schema, undefined as never, 'broker.toml')).toThrow(TypeError);
  });
});

describe('parsedBy', () => {
  test('an error other than FormatError is passed on', () => {
    const broken = v.pipe(
      v.string(),
      parsedBy(() => {
        throw new RangeError('a bug');
      }),
    );
    expect(() => parseWith(broken, 'x', 'x')).toThrow(RangeError);
  });
});
