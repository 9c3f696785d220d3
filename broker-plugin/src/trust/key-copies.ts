/**
 * Copies of issuers' public keys on disk, for a broker that starts while an issuer is down.
 *
 * Units   NumericDate.
 * Errors  `SqliteError` when the disk fails.
 * Source  DESIGN 4 (Trust feed), 8 (authority down; signing key stolen).
 *
 * @module
 */
import type { Issuer, IssuerKey, NumericDate } from '@latchkey/shared';
import type { Database } from 'better-sqlite3';

/** A public key as its issuer publishes it. */
export type KeyCopy = Readonly<Record<string, unknown>>;

export interface KeyCopies {
  /** The keys that were saved last; none: an empty list. */
  load(issuer: string): readonly KeyCopy[];
  /** Replaces the keys of an issuer. */
  save(issuer: string, keys: readonly KeyCopy[], now: NumericDate): void;
  /**
   * Replaces the keys by those that the feed says are all; what was there and is not among them is
   * dropped for good. To be called in the transaction of the page.
   */
  replace(issuer: Issuer, keys: readonly IssuerKey[], now: NumericDate): void;
  /** Whether the feed dropped that key: then no key set that somebody kept may bring it back. */
  isDropped(kid: string): boolean;
}

/** Issuers and dropped keys that are kept; the oldest go first. */
const MAX_ISSUERS = 64;
const MAX_DROPPED = 256;

function kidOf({ kid }: KeyCopy): string | undefined {
  return typeof kid === 'string' ? kid : undefined;
}

export function createKeyCopies(db: Database): KeyCopies {
  const select = db.prepare<[string], { readonly jwks: string }>(
    'SELECT jwks FROM issuer_keys WHERE issuer = ?',
  );
  const upsert = db.prepare<{ issuer: string; jwks: string; now: NumericDate }>(
    `INSERT INTO issuer_keys (issuer, jwks, saved_at) VALUES (@issuer, @jwks, @now)
     ON CONFLICT (issuer) DO UPDATE SET jwks = @jwks, saved_at = @now WHERE jwks <> @jwks`,
  );
  const forgetIssuers = db.prepare<[number]>(
    `DELETE FROM issuer_keys WHERE issuer NOT IN
       (SELECT issuer FROM issuer_keys ORDER BY saved_at DESC, issuer LIMIT ?)`,
  );
  const drop = db.prepare<[string]>('INSERT OR REPLACE INTO dropped_key (kid) VALUES (?)');
  const undrop = db.prepare<[string]>('DELETE FROM dropped_key WHERE kid = ?');
  const forgetDropped = db.prepare<[number]>(
    `DELETE FROM dropped_key WHERE sequence NOT IN
       (SELECT sequence FROM dropped_key ORDER BY sequence DESC LIMIT ?)`,
  );
  const selectDropped = db.prepare<[string], unknown>('SELECT 1 FROM dropped_key WHERE kid = ?');

  const load = (issuer: string): readonly KeyCopy[] => {
    const jwks = select.get(issuer)?.jwks;
    return jwks === undefined ? [] : (JSON.parse(jwks) as KeyCopy[]);
  };

  const save = (issuer: string, keys: readonly KeyCopy[], now: NumericDate): boolean => {
    const { changes } = upsert.run({ issuer, jwks: JSON.stringify(keys), now });
    if (changes > 0) forgetIssuers.run(MAX_ISSUERS);
    return changes > 0;
  };

  return {
    load,
    save: (issuer, keys, now) => void save(issuer, keys, now),
    replace: (issuer, keys, now) => {
      const before = load(issuer).map(kidOf);
      const copies = keys.map(({ kid, alg, jwk }) => ({ ...jwk, kid, alg, use: 'sig' }));
      if (!save(issuer, copies, now)) return;
      const kids = new Set<string | undefined>(keys.map(({ kid }) => kid));
      for (const kid of before) if (kid !== undefined && !kids.has(kid)) drop.run(kid);
      for (const { kid } of keys) undrop.run(kid);
      forgetDropped.run(MAX_DROPPED);
    },
    isDropped: (kid) => selectDropped.get(kid) !== undefined,
  };
}
