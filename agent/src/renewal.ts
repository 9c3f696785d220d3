/**
 * When to renew a token, and how long before its end it is no longer used.
 *
 * Units   NumericDate; margins in seconds.
 * Errors  none; pure.
 * Source  DESIGN 7 (renewal at 60 to 80 % of the lifetime, with jitter).
 *
 * @module
 */
import type { NumericDate } from '@latchkey/shared';

/** The part of a token that decides about its renewal. */
export interface Lifetime {
  readonly issuedAt: NumericDate;
  readonly expiresAt: NumericDate;
}

const EARLIEST = 0.6;
const LATEST = 0.8;

/** Instant between 60 and 80 % of the lifetime; `random` is uniform in [0, 1). */
export function renewalAt({ issuedAt, expiresAt }: Lifetime, random: number): NumericDate {
  return issuedAt + (expiresAt - issuedAt) * (EARLIEST + (LATEST - EARLIEST) * random);
}

/** How long before `exp` a token is given to nobody any more: 10 % of its life, 30 s at most. */
export function safetyMarginSeconds({ issuedAt, expiresAt }: Lifetime): number {
  return Math.min(30, (expiresAt - issuedAt) * 0.1);
}

/**
 * Whether the token may still be presented. A token "issued in the future" means that the clock went
 * backwards (a device without a battery-backed clock after a power cut): its age is unknown.
 */
export function isUsable(lifetime: Lifetime, now: NumericDate): boolean {
  return lifetime.issuedAt <= now && now < lifetime.expiresAt - safetyMarginSeconds(lifetime);
}
