import { SECRET_FIELDS, silentLogger, strikeOut } from '@latchkey/shared';
import pino from 'pino';
import { describe, expect, test } from 'vitest';

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

describe('strikeOut as formatters.log of pino', () => {
  const setup = () => {
    const lines: string[] = [];
    return {
      lines,
      logger: pino(
        { formatters: { log: strikeOut } },
        { write: (line: string) => lines.push(line) },
      ),
    };
  };

  test.each(SECRET_FIELDS)('%s is struck out at the first two levels', (name) => {
    const { lines, logger } = setup();
    logger.info({ [name]: 'hunter2', inner: { [name]: 'hunter2', kid: 'k' } }, 'a message');
    expect(lines.join('')).not.toContain('hunter2');
    expect(JSON.parse(lines[0] as string)).toMatchObject({ inner: { kid: 'k' }, msg: 'a message' });
  });

  test('the secret of an error is struck out, and its message and stack stay', () => {
    const { lines, logger } = setup();
    const err = Object.assign(new Error('refused'), { token: 'hunter2', code: 'E' });
    logger.error({ err }, 'a message');
    const line = JSON.parse(lines[0] as string);
    expect(lines.join('')).not.toContain('hunter2');
    expect(line.err).toMatchObject({ message: 'refused', code: 'E' });
    expect(line.err.stack).toContain('log.test');
  });
});

test('strikeOut leaves what it was given as it was, and does not copy what is harmless', () => {
  const fields = { token: 'x', inner: { d: 'y' }, list: [1], nothing: null };
  expect(strikeOut(fields)).toEqual({ ...fields, token: '[secret]', inner: { d: '[secret]' } });
  expect(strikeOut({ token: 'x', proof: 'y' })).toEqual({ token: '[secret]', proof: '[secret]' });
  expect(fields).toEqual({ token: 'x', inner: { d: 'y' }, list: [1], nothing: null });
  const harmless = { event: 'a.b', inner: { kid: 'k' } };
  expect(strikeOut(harmless)).toBe(harmless);
  const only = { event: 'a.b', inner: { proof: 'p' } };
  expect(strikeOut(only)).toEqual({ event: 'a.b', inner: { proof: '[secret]' } });
});
