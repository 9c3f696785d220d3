/**
 * Who failed too often, and for how long that shuts them out.
 *
 * Failures are forgiven at a steady rate. Whoever collects too many is banned; while bans follow one
 * another, each is twice as long as the last. A ban is an end of trying, not of counting: what comes
 * meanwhile is not counted, so that a ban ends when it said it would.
 *
 * Memory is bounded in two parts. A key that only failed makes room for newer ones like it; a key
 * that is banned does so only for others that are banned. To push out one ban somebody has to earn
 * as many bans as there is room for, which is what the bans keep them from.
 *
 * Units   milliseconds.
 * Errors  none.
 * Source  DESIGN 9 (I11); STANDARDS 6 (18).
 *
 * @module
 */
import type { Clock } from '@latchkey/shared';

export interface BanRules {
  /** With this many failures that are not forgiven yet comes a ban. */
  readonly failures: number;
  /** In this time so many failures are forgiven; and without a ban, one doubling. */
  readonly windowMs: number;
  readonly firstBanMs: number;
  readonly longestBanMs: number;
}

export interface FailureBans {
  isBanned(key: string): boolean;
  /** Counts a failure. Answers with the length of the ban that it brought, or 0. */
  fail(key: string): number;
  /** Forgets the failures of a key and ends its ban. */
  forgive(key: string): void;
  /** Keys in memory, at most twice `maxKeys`. */
  readonly size: number;
}

interface Standing {
  /** Not forgiven yet, at `countedAtMs`. */
  failures: number;
  countedAtMs: number;
  /** How many bans followed one another. */
  bans: number;
  bannedUntilMs: number;
}

/** `maxKeys`: of those who failed, and again of those who were banned. */
export function createFailureBans(
  { failures: tooMany, windowMs, firstBanMs, longestBanMs }: BanRules,
  { clock, maxKeys }: { readonly clock: Clock; readonly maxKeys: number },
): FailureBans {
  /** Both in the order of the last failure. */
  const failing = new Map<string, Standing>();
  const banned = new Map<string, Standing>();

  const put = (keys: Map<string, Standing>, key: string, standing: Standing): void => {
    keys.set(key, standing);
    if (keys.size > maxKeys) keys.delete(keys.keys().next().value as string);
  };

  // A ban that ends further away than any can be is one from before the clock was set back.
  const isOn = ({ bannedUntilMs }: Standing, nowMs: number): boolean =>
    nowMs < bannedUntilMs && bannedUntilMs - nowMs <= longestBanMs;

  /** As it is now: what is forgiven is taken off. */
  const standingOf = (key: string, nowMs: number): Standing => {
    const known = banned.get(key) ?? failing.get(key);
    if (known === undefined) return { failures: 0, countedAtMs: nowMs, bans: 0, bannedUntilMs: 0 };
    const { failures, countedAtMs, bans, bannedUntilMs } = known;
    const forgiven = (Math.max(0, nowMs - countedAtMs) / windowMs) * tooMany;
    const quietWindows = Math.floor(Math.max(0, nowMs - bannedUntilMs) / windowMs);
    return {
      failures: Math.max(0, failures - forgiven),
      countedAtMs: nowMs,
      bans: Math.max(0, bans - quietWindows),
      bannedUntilMs,
    };
  };

  const forgive = (key: string): void => {
    failing.delete(key);
    banned.delete(key);
  };

  return {
    isBanned: (key) => {
      const standing = banned.get(key);
      return standing !== undefined && isOn(standing, clock.nowMs());
    },
    fail: (key) => {
      const nowMs = clock.nowMs();
      const standing = standingOf(key, nowMs);
      if (isOn(standing, nowMs)) return 0;
      forgive(key);
      standing.failures = Math.min(tooMany, standing.failures + 1);
      if (standing.failures < tooMany) {
        put(standing.bans > 0 ? banned : failing, key, standing);
        return 0;
      }
      const banMs = Math.min(firstBanMs * 2 ** standing.bans, longestBanMs);
      standing.bans += 1;
      standing.bannedUntilMs = nowMs + banMs;
      put(banned, key, standing);
      return banMs;
    },
    forgive,
    get size() {
      return failing.size + banned.size;
    },
  };
}
