/**
 * Instants, durations and the clock that everything else is given.
 *
 * Units   NumericDate: seconds since 1970-01-01T00:00:00Z (RFC 7519 2), always whole seconds here.
 * Errors  `FormatError` for a duration that cannot be read.
 * Source  RFC 7519 2.
 *
 * @module
 */
import { uptime } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { FormatError } from './errors.js';

/** Whole seconds since the epoch (RFC 7519 2). */
export type NumericDate = number;

/** Source of time. The only implementation that reads the machine's clock is `systemClock`. */
export interface Clock {
  /** Current instant in whole seconds. */
  now(): NumericDate;
  /** Current instant in milliseconds since the epoch. */
  nowMs(): number;
  /** Milliseconds since some moment of the past; setting the clock changes nothing about it. */
  elapsedMs(): number;
  /** Milliseconds since the machine started, those in which it was suspended too; exact to 10 ms. */
  uptimeMs(): number;
  /** Resolves after `ms` milliseconds; rejects with the signal's reason when it aborts first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** `setTimeout` fires at once beyond 2^31 - 1 ms, so longer waits are made of pieces. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Math.floor(Date.now() / 1000),
  nowMs: () => Date.now(),
  elapsedMs: () => performance.now(),
  uptimeMs: () => uptime() * 1000,
  sleep: async (ms, signal) => {
    for (let left = ms; left > 0; left -= MAX_TIMER_MS) {
      await delay(Math.min(left, MAX_TIMER_MS), undefined, signal ? { signal } : {});
    }
  },
};

/** ISO 8601 text of an instant, for people and logs. */
export function formatInstant(at: NumericDate): string {
  return new Date(at * 1000).toISOString().replace('.000Z', 'Z');
}

/** Instant of an HTTP `Date` header (RFC 9110 5.6.7), or `undefined` when it cannot be read. */
export function parseHttpDate(text: string | undefined): NumericDate | undefined {
  const ms = text === undefined ? Number.NaN : Date.parse(text);
  return Number.isFinite(ms) ? Math.floor(ms / 1000) : undefined;
}

const UNIT_SECONDS = { '': 1, s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 } as const;
const MAX_DURATION_SECONDS = 315_360_000;

/** Reads `90`, `90s`, `15m`, `1h`, `30d` or `2w` as seconds (1 s to 10 years). */
export function parseDuration(text: string, field = 'duration'): number {
  const match = /^([1-9][0-9]{0,8})([smhdw]?)$/.exec(text);
  const unit = match?.[2] as keyof typeof UNIT_SECONDS;
  const seconds = match === null ? Number.NaN : Number(match[1]) * UNIT_SECONDS[unit];
  if (!(seconds <= MAX_DURATION_SECONDS)) {
    throw new FormatError(
      field,
      'is not a duration such as 90s, 15m, 1h or 30d (10 years at most)',
    );
  }
  return seconds;
}
