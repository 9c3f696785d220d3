import * as shared from '@latchkey/shared';
import {
  ConfigError,
  FormatError,
  InvalidRequestError,
  JwtError,
  OAuthError,
  type OAuthErrorOptions,
  UnreachableError,
} from '@latchkey/shared';
import { describe, expect, test } from 'vitest';

/** Codes and statuses as the standards name them (RFC 6749 5.2, RFC 6750 3.1, RFC 8707 2). */
const OAUTH_ERRORS = {
  InvalidRequestError: ['invalid_request', 400],
  InvalidClientError: ['invalid_client', 401],
  InvalidGrantError: ['invalid_grant', 400],
  UnauthorizedClientError: ['unauthorized_client', 400],
  UnsupportedGrantTypeError: ['unsupported_grant_type', 400],
  InvalidScopeError: ['invalid_scope', 400],
  InvalidTargetError: ['invalid_target', 400],
  InvalidTokenError: ['invalid_token', 401],
  InsufficientScopeError: ['insufficient_scope', 403],
  UnavailableError: ['temporarily_unavailable', 503],
} as const;
const exported = new Map<string, unknown>(Object.entries(shared));
type Made = new (message: string, options: OAuthErrorOptions) => OAuthError;

describe('OAuth errors', () => {
  test.each(Object.entries(OAUTH_ERRORS))('%s is %o', (name, [error, status]) => {
    const made = new (exported.get(name) as Made)('why', { detail: 'for the log', cause: 'c' });
    expect(made).toBeInstanceOf(OAuthError);
    expect(made).toMatchObject({
      name,
      error,
      status,
      message: 'why',
      detail: 'for the log',
      cause: 'c',
    });
  });

  test('there are no others', () => {
    const names = [...exported]
      .filter(([, value]) => typeof value === 'function' && value.prototype instanceof OAuthError)
      .map(([name]) => name);
    expect(names.sort()).toEqual(Object.keys(OAUTH_ERRORS).sort());
  });

  test('without options there is neither detail nor cause', () => {
    const error = new InvalidRequestError('why');
    expect(error.detail).toBeUndefined();
    expect(Object.hasOwn(error, 'cause')).toBe(false);
    expect(error.status).toBe(400);
  });

  test('a malformed request may have the status that HTTP has for it', () => {
    expect(new InvalidRequestError('too large', { status: 413 }).status).toBe(413);
  });
});

test('a JwtError carries the claim, the clock and the cause only when it has them', () => {
  expect(new JwtError('claim', 'why')).toMatchObject({
    reason: 'claim',
    claim: undefined,
    clockOffsetSeconds: undefined,
  });
  expect(Object.hasOwn(new JwtError('claim', 'why'), 'cause')).toBe(false);
  const options = { claim: 'exp', clockOffsetSeconds: -7, cause: 'c' };
  expect(new JwtError('expired', 'why', options)).toMatchObject({ reason: 'expired', ...options });
});

test('a FormatError names the field and the problem', () => {
  const error = new FormatError('role', 'must not be empty');
  expect(error).toMatchObject({ field: 'role', problem: 'must not be empty' });
  expect(error.message).toBe('role must not be empty');
});

test('a ConfigError lists every problem on a line of its own', () => {
  const problems = [
    { path: 'listen.0.port', message: 'is missing' },
    { path: '', message: 'must be Object' },
  ];
  const error = new ConfigError('broker.toml', problems);
  expect(error.problems).toEqual(problems);
  expect(error.message).toBe(
    'broker.toml is not valid:\n  listen.0.port: is missing\n  must be Object',
  );
});

test('an UnreachableError keeps its cause', () => {
  expect(new UnreachableError('why', { cause: 'c' }).cause).toBe('c');
  expect(Object.hasOwn(new UnreachableError('why'), 'cause')).toBe(false);
});
