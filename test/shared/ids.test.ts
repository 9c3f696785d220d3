import {
  isLoopbackHost,
  isTemplateValue,
  isTopicScopeLike,
  parseClientId,
  parseIssuer,
  parseKid,
  parseLabel,
  parsePermissionName,
  parseResourceId,
  parseRoleName,
} from '@latchkey/shared';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

const refused = (field: string) => expect.objectContaining({ name: 'FormatError', field });

/** Values that are no name of anything. */
const NO_NAMES = [
  '',
  ' ',
  'a b',
  'a/b',
  '/',
  'a+',
  '+',
  '#',
  'a#',
  '$SYS',
  'a$',
  'a\0',
  'a\n',
  '\na',
  'a,b',
  'a;b',
  'a%2Fb',
  'a%',
  '{a}',
  "a'b",
  'a"b',
  '..',
  '.a',
  '-a',
  '_a',
  ':a',
  '../a',
  'é',
  'ａ',
  'а',
  'a\u200d',
  'a\u202e',
  'a\ufeff',
  'x'.repeat(65),
  'x'.repeat(65_536),
  undefined,
  null,
  0,
  42,
  true,
  ['a'],
  { a: 1 },
  Symbol('a'),
];
const NAMES = [
  'a',
  '0',
  'A',
  't-42',
  'a.b_c:d-e',
  '__proto__'.slice(2),
  'constructor',
  'x'.repeat(64),
];

describe.each([
  { name: 'client ids', parse: parseClientId, field: 'client_id' },
  { name: 'role names', parse: parseRoleName, field: 'role' },
  { name: 'permission names', parse: parsePermissionName, field: 'permission' },
])('$name', ({ parse, field }) => {
  test.each(NAMES)('accept %s', (value) => {
    expect(parse(value)).toBe(value);
  });

  test.each(NO_NAMES.map((value) => ({ value })))('refuse $value', ({ value }) => {
    expect(() => parse(value)).toThrow(refused(field));
    expect(() => parse(value, 'mine')).toThrow(refused('mine'));
  });
});

describe('permission names', () => {
  test.each(['pub', 'sub', 'pubsub', 'PUB', 'pub:a', 'sub:a', 'PubSub:a'])(
    'refuse %s, which a request could mean as a topic scope',
    (value) => {
      expect(() => parsePermissionName(value)).toThrow(refused('permission'));
    },
  );

  test.each(['publish', 'pub-telemetry', 'subscribe:a', 'orders:read', 'x:pub'])(
    'accept %s',
    (value) => {
      expect(parsePermissionName(value)).toBe(value);
    },
  );

  test('no name that is accepted looks like a topic scope', () => {
    const text = fc.stringMatching(/^(pub|sub|pubsub|Pub|a)?[:.;a-z-]{0,4}$/);
    fc.assert(
      fc.property(text, (value) => {
        let name: string;
        try {
          name = parsePermissionName(value);
        } catch {
          return;
        }
        expect(isTopicScopeLike(name)).toBe(false);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('kids', () => {
  const kid = 'kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k';
  test('accept a thumbprint', () => {
    expect(parseKid(kid)).toBe(kid);
  });

  test.each([
    { value: kid.slice(1) },
    { value: `${kid}A` },
    { value: `${kid}\n` },
    { value: `${kid.slice(1)}=` },
    { value: `${kid.slice(1)}/` },
    { value: `${kid.slice(2)}..` },
    { value: '' },
    { value: undefined },
    { value: [kid] },
  ])('refuse $value', ({ value }) => {
    expect(() => parseKid(value)).toThrow(refused('kid'));
  });
});

describe('resource identifiers', () => {
  test.each([
    'mqtts://broker.example',
    'mqtt://localhost:1883',
    'https://api.example/v1?x=1',
    'urn:example:broker',
    'MQTTS://broker.example',
    `https://a.example/${'x'.repeat(255 - 18)}`,
  ])('accept %s', (value) => {
    expect(parseResourceId(value)).toBe(value);
  });

  test.each([
    { name: 'a fragment', value: 'mqtts://broker.example#a' },
    { name: 'an empty fragment', value: 'mqtts://broker.example#' },
    { name: 'a relative reference', value: '/broker' },
    { name: 'a host name', value: 'broker.example' },
    { name: 'a scheme alone', value: 'mqtts:' },
    { name: 'a blank', value: 'mqtts://broker.example/a b' },
    { name: 'a quote', value: 'mqtts://broker.example/"' },
    { name: 'a backslash', value: 'mqtts://broker.example/\\' },
    { name: 'a newline', value: 'mqtts://broker.example\n' },
    { name: 'beyond ASCII', value: 'mqtts://bröker.example' },
    { name: 'a bad host', value: 'https://a b' },
    { name: 'a bad port', value: 'https://a.example:99999' },
    { name: '256 characters', value: `https://a.example/${'x'.repeat(256 - 18)}` },
    { name: 'nothing', value: '' },
    { name: 'undefined', value: undefined },
    { name: 'a URL object', value: new URL('https://a.example') },
  ])('refuse $name', ({ value }) => {
    expect(() => parseResourceId(value)).toThrow(refused('resource'));
  });
});

describe('issuers', () => {
  test.each([
    'https://id.example',
    'https://id.example:8443',
    'https://id.example/fleet',
    'https://id.example/a/b',
    'http://localhost:9400',
    'http://127.0.0.1:9400',
    'http://127.9.9.9',
    'http://[::1]:9400',
    'https://10.0.0.1',
  ])('accept %s', (value) => {
    expect(parseIssuer(value)).toBe(value);
  });

  test.each([
    'http://id.example',
    'http://10.0.0.1',
    'http://0.0.0.0',
    'http://localhost.example',
    'http://127.0.0.1.example',
    'http://[::2]',
    'https://id.example/',
    'https://id.example/fleet/',
    'https://id.example?x',
    'https://id.example?',
    'https://id.example#x',
    'https://id.example#',
    'https://ID.example',
    'HTTPS://id.example',
    'https://id.example:443',
    'http://localhost:80',
    'https://user@id.example',
    'https://user:secret@id.example',
    'https://:secret@id.example',
    'https://id.example/a/../b',
    'https://id.example/./a',
    'https://id.example\\a',
    ' https://id.example',
    'https://id.example ',
    'https://id.example\n',
    'https:id.example',
    'https:///id.example',
    'https://bröker.example',
    'ftp://id.example',
    'mqtts://id.example',
    'file:///etc/passwd',
    'data:,x',
    'id.example',
    '',
    'https://',
    `https://id.example/${'x'.repeat(255)}`,
  ])('refuse %s', (value) => {
    expect(() => parseIssuer(value)).toThrow(refused('issuer'));
  });

  test.each([
    { value: undefined },
    { value: null },
    { value: 7 },
    { value: ['https://id.example'] },
  ])('refuse $value', ({ value }) => {
    expect(() => parseIssuer(value)).toThrow(refused('issuer'));
  });

  test('a password in the URL is not echoed', () => {
    expect(() => parseIssuer('https://user:hunter2@id.example')).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('hunter2') }),
    );
  });
});

test.each([
  { host: 'localhost', is: true },
  { host: '127.0.0.1', is: true },
  { host: '127.255.255.254', is: true },
  { host: '::1', is: true },
  { host: '[::1]', is: true },
  { host: '128.0.0.1', is: false },
  { host: '127.0.0.1.example', is: false },
  { host: 'x127.0.0.1', is: false },
  { host: 'localhost.', is: false },
  { host: 'notlocalhost', is: false },
  { host: '0.0.0.0', is: false },
  { host: '[::]', is: false },
  { host: '::ffff:127.0.0.1', is: false },
  { host: '', is: false },
])('$host is loopback: $is', ({ host, is }) => {
  expect(isLoopbackHost(host)).toBe(is);
});

describe('labels', () => {
  test.each([
    { name: 'plain', key: 'site', value: 'berlin' },
    { name: 'with blanks and letters of any language', key: 'room', value: 'Küche 2' },
    { name: 'the longest', key: 'a'.repeat(32), value: 'v'.repeat(128) },
    { name: 'one character', key: 'a', value: '🌡' },
    { name: 'dots, which are no levels', key: 'a', value: '..' },
    { name: 'a percent sign', key: 'a', value: '%2F' },
  ])('accepted: $name', ({ key, value }) => {
    expect(parseLabel(key, value)).toEqual({ key, value });
    expect(isTemplateValue(value)).toBe(true);
  });

  test.each([
    '',
    'a/b',
    '/',
    'a+',
    '+',
    '#',
    'a#b',
    '$SYS',
    'a$b',
    'a\0',
    'a\n',
    '\u007f',
    '\u0085',
    'a\ud800',
    '\udc00',
    '\ufffe',
    '\u{10ffff}',
    '\ufffd',
    '\ufeffa',
    'v'.repeat(129),
    'v'.repeat(65_536),
  ])('the value %j is refused', (value) => {
    expect(isTemplateValue(value)).toBe(false);
    expect(() => parseLabel('site', value)).toThrow(refused('label.site'));
  });

  test.each([{ value: undefined }, { value: null }, { value: 7 }, { value: ['berlin'] }])(
    'the value $value is refused',
    ({ value }) => {
      expect(() => parseLabel('site', value)).toThrow(refused('label.site'));
    },
  );

  test.each([
    '',
    'Site',
    '1a',
    '-a',
    '_a',
    'a.b',
    'a b',
    'a}',
    'é',
    'a'.repeat(33),
    '__proto__',
    'a\n',
    undefined,
    null,
    7,
  ])('the key %j is refused and not echoed', (key) => {
    expect(() => parseLabel(key, 'berlin')).toThrow(refused('label'));
  });
});
