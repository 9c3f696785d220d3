import { readFileSync } from 'node:fs';
import { formatInstant, parseDuration, parseHttpDate, systemClock } from '@latchkey/shared';
import { describe, expect, test } from 'vitest';

describe('systemClock', () => {
  test('tells whole seconds and milliseconds of one instant', () => {
    const before = Date.now();
    const [seconds, ms] = [systemClock.now(), systemClock.nowMs()];
    expect(Number.isInteger(seconds)).toBe(true);
    expect(ms).toBeGreaterThanOrEqual(before);
    expect(Math.abs(ms / 1000 - seconds)).toBeLessThan(2);
  });

  test('tells the time since the machine started, which goes on while it is suspended', async () => {
    const [uptime] = readFileSync('/proc/uptime', 'utf8').split(' ');
    expect(Math.abs(systemClock.uptimeMs() - Number(uptime) * 1000)).toBeLessThan(5000);
    const before = systemClock.uptimeMs();
    await systemClock.sleep(30);
    expect(systemClock.uptimeMs()).toBeGreaterThan(before);
  });

  test.each([0, -5, 1])('sleep(%i) resolves', async (ms) => {
    await expect(systemClock.sleep(ms)).resolves.toBeUndefined();
  });

  test.each([
    { name: 'an hour', ms: 3_600_000 },
    { name: 'more than a timer can hold, which would fire at once', ms: 2 ** 31 + 60_000 },
  ])('sleeping $name goes on until it is aborted', async ({ ms }) => {
    const controller = new AbortController();
    let isOver = false;
    const sleep = systemClock.sleep(ms, controller.signal).finally(() => {
      isOver = true;
    });
    await systemClock.sleep(20);
    expect(isOver).toBe(false);
    controller.abort();
    await expect(sleep).rejects.toThrow(expect.objectContaining({ name: 'AbortError' }));
  });

  test('a signal that was aborted before ends the sleep at once', async () => {
    await expect(systemClock.sleep(60_000, AbortSignal.abort())).rejects.toThrow(
      expect.objectContaining({ name: 'AbortError' }),
    );
  });
});

test.each([
  { at: 0, is: '1970-01-01T00:00:00Z' },
  { at: 1_760_000_000, is: '2025-10-09T08:53:20Z' },
  { at: 2 ** 32, is: '2106-02-07T06:28:16Z' },
])('formatInstant($at) is $is', ({ at, is }) => {
  expect(formatInstant(at)).toBe(is);
});

test.each([
  { text: 'Thu, 09 Oct 2025 08:53:20 GMT', is: 1_760_000_000 },
  { text: 'Thu, 01 Jan 1970 00:00:00 GMT', is: 0 },
  { text: 'yesterday', is: undefined },
  { text: '', is: undefined },
  { text: undefined, is: undefined },
])('parseHttpDate($text) is $is', ({ text, is }) => {
  expect(parseHttpDate(text)).toBe(is);
});

describe('parseDuration', () => {
  test.each([
    { text: '1', is: 1 },
    { text: '90', is: 90 },
    { text: '90s', is: 90 },
    { text: '15m', is: 900 },
    { text: '1h', is: 3600 },
    { text: '30d', is: 2_592_000 },
    { text: '2w', is: 1_209_600 },
    { text: '3650d', is: 315_360_000 },
    { text: '315360000', is: 315_360_000 },
  ])('$text is $is s', ({ text, is }) => {
    expect(parseDuration(text)).toBe(is);
  });

  test.each([
    '',
    '0',
    '0s',
    '00',
    '01h',
    '-1h',
    '+1h',
    '1.5h',
    '1e3',
    '1H',
    '1 h',
    ' 1h',
    '1h ',
    '1h\n',
    '1y',
    '1ms',
    'h',
    '1h30m',
    '١h',
    'Infinity',
    'NaN',
    'constructor',
    '3651d',
    '315360001',
    '522w',
    '9999999999',
    '999999999w',
  ])('%j is refused', (text) => {
    expect(() => parseDuration(text, 'expires')).toThrow(
      expect.objectContaining({ name: 'FormatError', field: 'expires' }),
    );
  });
});
