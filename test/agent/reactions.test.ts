import { ConnectRefusedError, OfflineError, reactTo } from '@latchkey/agent/daemon';
import { TokenRequestError, UnreachableError } from '@latchkey/shared';
import { expect, test } from 'vitest';

const NOW = 1_760_000_000;
const refusedByAuthority = (error: string, serverDate: number | undefined = NOW) =>
  new TokenRequestError(error, '', 400, serverDate);

test.each([
  { name: 'CONNACK 1', error: new ConnectRefusedError(1), kind: 'stop' },
  { name: 'CONNACK 2', error: new ConnectRefusedError(2), kind: 'stop' },
  { name: 'CONNACK 3', error: new ConnectRefusedError(3), pace: 'network', discardsToken: false },
  { name: 'CONNACK 4', error: new ConnectRefusedError(4), pace: 'at-once', discardsToken: true },
  { name: 'CONNACK 5', error: new ConnectRefusedError(5), pace: 'at-once', discardsToken: true },
  { name: 'CONNACK 6', error: new ConnectRefusedError(6), pace: 'network', discardsToken: false },
  { name: 'unreachable', error: new UnreachableError('x'), pace: 'network', discardsToken: false },
  { name: 'offline', error: new OfflineError('x'), pace: 'network', discardsToken: false },
  { name: 'invalid_grant', error: refusedByAuthority('invalid_grant'), pace: 'operator' },
  { name: 'invalid_target', error: refusedByAuthority('invalid_target'), pace: 'operator' },
  { name: 'an unknown code', error: refusedByAuthority('whatever'), pace: 'operator' },
])('first $name', ({ name: _, error, kind = 'retry', ...rest }) => {
  expect(reactTo(error, { now: NOW, hasReplacedToken: false })).toMatchObject({ kind, ...rest });
});

test.each([
  { name: 'CONNACK 4 backs off', error: new ConnectRefusedError(4), pace: 'network' },
  { name: 'CONNACK 5 backs off long', error: new ConnectRefusedError(5), pace: 'operator' },
])('with a new token: $name', ({ error, pace }) => {
  expect(reactTo(error, { now: NOW, hasReplacedToken: true })).toMatchObject({
    pace,
    discardsToken: true,
  });
});

test.each([
  { offset: 59, says: /ask the operator/ },
  { offset: 60, says: /set the clock: it is 60 s ahead of/ },
  { offset: -3600, says: /set the clock: it is 3600 s behind/ },
])('invalid_grant with a clock that is $offset s off', ({ offset, says }) => {
  const error = refusedByAuthority('invalid_grant', NOW - offset);
  expect(reactTo(error, { now: NOW, hasReplacedToken: false }).detail).toMatch(says);
});

test('an error that is not in the table is a bug and is thrown again', () => {
  const bug = new TypeError('x');
  expect(() => reactTo(bug, { now: NOW, hasReplacedToken: false })).toThrow(bug);
});
