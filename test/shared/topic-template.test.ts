import {
  type ClientId,
  formatTopicScope,
  parseClientId,
  parseTopicScopeTemplate,
  type TemplateSubject,
} from '@latchkey/shared';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

const subject = (labels: Record<string, string> = {}, clientId = 't-42'): TemplateSubject => ({
  clientId: clientId as ClientId,
  labels: new Map(Object.entries(labels)),
});
const refused = expect.objectContaining({
  name: 'FormatError',
  field: expect.stringMatching(/^scope/),
});
const expanded = (template: string, who: TemplateSubject) => {
  const expansion = parseTopicScopeTemplate(template).expand(who);
  return expansion.ok ? formatTopicScope(expansion.scope) : expansion;
};

describe('expansion', () => {
  const berlin = subject({ site: 'berlin', room: 'Küche 2', f: '3' });
  test.each([
    { template: 'pub:a/b', is: 'pub:a/b' },
    { template: 'pub:devices/{client_id}/telemetry/#', is: 'pub:devices/t-42/telemetry/#' },
    { template: 'pub;qos=1;retain=0:d/{client_id}', is: 'pub;qos=1;retain=0:d/t-42' },
    { template: 'sub:{client_id}/{client_id}', is: 'sub:t-42/t-42' },
    { template: 'sub:sites/{labels.site}/+', is: 'sub:sites/berlin/+' },
    { template: 'sub:{labels.site}-{labels.f}/x', is: 'sub:berlin-3/x' },
    { template: 'sub:r/{labels.room}', is: 'sub:r/K%C3%BCche%202' },
    { template: 'sub:a/%7Bclient_id%7D', is: 'sub:a/{client_id}' },
    { template: 'sub:%20{client_id}', is: 'sub:%20t-42' },
  ])('$template becomes $is', ({ template, is }) => {
    expect(expanded(template, berlin)).toBe(is);
  });

  test('the labels that a client needs are known without a client', () => {
    const template = parseTopicScopeTemplate('sub:{labels.site}/{labels.floor}/{labels.site}');
    expect(template.labels).toEqual(['site', 'floor']);
    expect(template.text).toBe('sub:{labels.site}/{labels.floor}/{labels.site}');
  });

  test('a label that the client lacks is an answer and no error', () => {
    expect(expanded('sub:{labels.site}/{labels.floor}', subject({ site: 'berlin' }))).toEqual({
      ok: false,
      missingLabel: 'floor',
    });
    expect(expanded('sub:{labels.constructor}', subject())).toEqual({
      ok: false,
      missingLabel: 'constructor',
    });
  });
});

describe('templates that are refused', () => {
  test.each([
    'pub:{client_id',
    'pub:client_id}',
    'pub:{}',
    'pub:{{client_id}}',
    'pub:{clientId}',
    'pub:{CLIENT_ID}',
    'pub:{ client_id}',
    'pub:{labels}',
    'pub:{labels.}',
    'pub:{labels.Site}',
    'pub:{labels.a.b}',
    'pub:{labels.a b}',
    'pub:{labels.__proto__}',
    'pub:{labels.a/b}',
    'pub:{sub}',
    'pub:{client_id}#',
    'pub:#/{client_id}',
    'pub:a/{client_id}+',
    'pub:+{labels.a}',
    'pub:{labels.a}#',
    'pub:',
    'pub',
    'write:{client_id}',
    '{client_id}',
    'pub;{client_id}:a',
    'pub;qos={labels.q}:a',
    '{labels.action}:a',
    'pub:a%',
    'pub:{client_id}%2',
    'pub:a b',
    'pub:%00{client_id}',
    'pub:é',
    'pub:{client_id}/%2B%2B',
    `pub:${'{client_id}/'.repeat(100)}x`,
    `pub:${'a'.repeat(70_000)}`,
  ])('%s', (template) => {
    expect(() => parseTopicScopeTemplate(template)).toThrow(refused);
  });
});

describe('injection', () => {
  const values = [
    'a/b',
    '/',
    '/#',
    '+',
    '#',
    '$SYS',
    '$',
    'a\0b',
    '\n',
    '',
    'x'.repeat(129),
    'x'.repeat(65_536),
    '\ufeff',
    '\ud800',
    '\ufffd',
    '\uffff',
    '\u0001',
  ];
  test.each(values)('the label value %j is refused at expansion too', (value) => {
    expect(expanded('sub:sites/{labels.site}/x', subject({ site: value }))).toEqual({
      ok: false,
      missingLabel: 'site',
    });
  });

  test.each([...values, '../x', 'a%2Fb', 'ｔ-42', 't 42', 't-42/', '+', 'x'.repeat(65)])(
    'the client id %j is refused at expansion too',
    (clientId) => {
      const template = parseTopicScopeTemplate('sub:devices/{client_id}/x');
      expect(() => template.expand(subject({}, clientId))).toThrow(
        expect.objectContaining({ name: 'FormatError', field: 'client_id' }),
      );
    },
  );

  // Look-alikes are other characters, and MQTT compares character by character.
  test.each([
    '..',
    '%2F',
    '%23',
    '{client_id}',
    '\uff0f',
    '\uff0b',
    '\uff03',
    '\uff04',
    '\u2215',
    'а',
    'a\u202eb',
  ])('the value %j stays one literal level', (value) => {
    const expansion = parseTopicScopeTemplate('sub:sites/{labels.site}/x').expand(
      subject({ site: value }),
    );
    expect(expansion).toMatchObject({ ok: true, scope: { filter: `sites/${value}/x` } });
  });

  test('whatever the values, an expansion has the levels and wildcards of its template', () => {
    const anyValue = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom(...values, '%2F', '..'),
    );
    fc.assert(
      fc.property(anyValue, anyValue, (a, b) => {
        const template = parseTopicScopeTemplate(
          'sub:s/{labels.a}/+/{labels.b}-{labels.a}/{client_id}/#',
        );
        const expansion = template.expand(subject({ a, b }));
        if (!expansion.ok) return;
        const levels = expansion.scope.filter.split('/');
        expect(levels).toHaveLength(6);
        expect(levels.map((level) => (/[+#]/.test(level) ? level : '')).join('')).toBe('+#');
        expect(levels).toEqual(['s', a, '+', `${b}-${a}`, parseClientId('t-42'), '#']);
      }),
      { numRuns: 1000 },
    );
  });
});
