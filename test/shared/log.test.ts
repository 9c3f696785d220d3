import { redactPaths, SECRET_FIELDS, silentLogger } from '@latchkey/shared';
import pino from 'pino';
import { expect, test } from 'vitest';

test('the silent logger says nothing', () => {
  for (const level of ['debug', 'info', 'warn', 'error'] as const) {
    expect(silentLogger[level]({ event: 'a.b' }, 'a message')).toBeUndefined();
  }
  expect(silentLogger.isLevelEnabled?.('debug')).toBe(false);
});

// The members by which secrets travel: RFC 6749, RFC 7521, RFC 7517 and our own (DESIGN 4).
test.each([
  'access_token',
  'assertion',
  'client_assertion',
  'client_secret',
  'authorization',
  'password',
  'd',
  'private_key',
  'enrollment_code',
  'proof',
  'token',
])('%s is on the list of secrets', (name) => {
  expect(SECRET_FIELDS).toContain(name);
});

test.each(SECRET_FIELDS)('%s is struck out at the first two levels', (name) => {
  const lines: string[] = [];
  const logger = pino({ redact: [...redactPaths] }, { write: (line: string) => lines.push(line) });
  logger.info({ [name]: 'hunter2', inner: { [name]: 'hunter2', kid: 'k' } }, 'a message');
  expect(lines.join('')).not.toContain('hunter2');
  expect(JSON.parse(lines[0] as string)).toMatchObject({ inner: { kid: 'k' }, msg: 'a message' });
});
