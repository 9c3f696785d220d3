/**
 * The life of signing keys, as pure functions of keys and time.
 *
 * A key is published as `next` before it signs, so that verifiers have it when the first token comes;
 * it verifies for longer than any token lives after it has stopped signing.
 *
 * Units   NumericDate; durations in seconds.
 * Errors  none; `checkRotation` says why a rotation has to wait.
 * Source  DESIGN 5 and 8 (signing key stolen).
 *
 * @module
 */
import {
  type IssuerKey,
  type NumericDate,
  TOKEN_MAX_LIFETIME_SECONDS,
  type TokenAlgorithm,
} from '@latchkey/shared';
import type { SigningKey } from '../registry/signing-key-store.js';

/** How long a retired key verifies: longer than the longest token that it can have signed. */
export const OVERLAP_SECONDS: number = TOKEN_MAX_LIFETIME_SECONDS + 3600;
/** How long a key is published before it signs: verifiers read the JWKS every ten minutes. */
export const PUBLISH_AHEAD_SECONDS = 900;
/** Retired keys of one algorithm that still verify; more would outgrow what verifiers accept. */
const MAX_OVERLAPPING = 6;
/** How long the row of a key is kept after nobody trusts the key any more, for the curious. */
const REMEMBER_SECONDS = 90 * 86_400;

/** Whether verifiers may trust the key. */
export function isPublished(key: SigningKey, now: NumericDate): boolean {
  return key.publishedUntil === undefined || now < key.publishedUntil;
}

export function findKey(
  keys: readonly SigningKey[],
  alg: TokenAlgorithm,
  status: 'next' | 'active',
): SigningKey | undefined {
  return keys.find((key) => key.alg === alg && key.status === status);
}

/** Algorithms that have an active key. */
export function algorithmsOf(keys: readonly SigningKey[]): readonly TokenAlgorithm[] {
  return keys.filter(({ status }) => status === 'active').map(({ alg }) => alg);
}

/** When the keys of an algorithm may be rotated; in the past: now. */
export function readyAt(
  keys: readonly SigningKey[],
  alg: TokenAlgorithm,
  now: NumericDate,
): NumericDate {
  const next = findKey(keys, alg, 'next');
  const ends = keys
    .filter((key) => key.alg === alg && key.status === 'retired' && isPublished(key, now))
    .map(({ publishedUntil }) => publishedUntil as NumericDate)
    .sort((a, b) => b - a);
  return Math.max(
    (next?.createdAt ?? now) + PUBLISH_AHEAD_SECONDS,
    // The newest that must be gone for the count to fit.
    ends[MAX_OVERLAPPING - 1] ?? 0,
  );
}

function added({ kid, alg, jwk }: IssuerKey, now: NumericDate, isActive: boolean): SigningKey {
  const activatedAt = isActive ? now : undefined;
  const status = isActive ? ('active' as const) : ('next' as const);
  const never = { retiredAt: undefined, publishedUntil: undefined };
  return { kid, alg, jwk, status, createdAt: now, activatedAt, ...never };
}

/** A key that begins to sign at once, since there is none yet. */
export const firstActive = (key: IssuerKey, now: NumericDate): SigningKey => added(key, now, true);
/** A key that will sign after the next rotation. */
export const nextInLine = (key: IssuerKey, now: NumericDate): SigningKey => added(key, now, false);

function retired(key: SigningKey, now: NumericDate, publishedUntil: NumericDate): SigningKey {
  return {
    ...key,
    status: 'retired',
    retiredAt: key.retiredAt ?? now,
    publishedUntil,
  };
}

/** The keys in use: `active` retires and goes on verifying, `next` signs, `fresh` is published. */
export function rotated(
  { active, next }: { readonly active: SigningKey; readonly next: SigningKey },
  fresh: IssuerKey,
  now: NumericDate,
): readonly SigningKey[] {
  return [
    retired(active, now, now + OVERLAP_SECONDS),
    { ...next, status: 'active', activatedAt: now },
    nextInLine(fresh, now),
  ];
}

/**
 * No key of the algorithm is trusted any more from now on: whoever read one could read those that lay
 * beside it, the next one and the retired ones too.
 */
export function replaced(
  keys: readonly SigningKey[],
  alg: TokenAlgorithm,
  fresh: { readonly active: IssuerKey; readonly next: IssuerKey },
  now: NumericDate,
): readonly SigningKey[] {
  const old = keys.filter((key) => key.alg === alg && isPublished(key, now));
  return [
    ...old.map((key) => retired(key, now, now)),
    firstActive(fresh.active, now),
    nextInLine(fresh.next, now),
  ];
}

/** Keys that nobody has trusted for so long that their rows can go. */
export function forgettable(keys: readonly SigningKey[], now: NumericDate): readonly SigningKey[] {
  return keys.filter(
    ({ publishedUntil }) =>
      publishedUntil !== undefined && publishedUntil + REMEMBER_SECONDS <= now,
  );
}
