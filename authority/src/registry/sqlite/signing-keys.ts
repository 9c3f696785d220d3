/**
 * Public halves and states of the authority's signing keys in SQLite.
 *
 * Units   NumericDate.
 * Errors  `SigningKeysChangedError`.
 * Source  DESIGN 5; RFC 7638 (`kid`).
 *
 * @module
 */
import { isDeepStrictEqual } from 'node:util';
import type { IssuerJwk, Kid, TokenAlgorithm } from '@latchkey/shared';
import type { Database } from 'better-sqlite3';
import type { SigningKey, SigningKeyChange, SigningKeyStatus } from '../signing-key-store.js';

/** The keys are not as the change expects them to be. */
export class SigningKeysChangedError extends Error {
  constructor() {
    super('the signing keys were changed meanwhile');
    this.name = 'SigningKeysChangedError';
  }
}

export interface SigningKeyTable {
  list(): readonly SigningKey[];
  /** Throws `SigningKeysChangedError`, so that whatever is in the same transaction does not happen either. */
  change(change: SigningKeyChange): void;
}

interface Row {
  readonly kid: Kid;
  readonly alg: TokenAlgorithm;
  readonly jwk: string;
  readonly status: SigningKeyStatus;
  readonly created_at: number;
  readonly activated_at: number | null;
  readonly retired_at: number | null;
  readonly published_until: number | null;
}

const toKey = (row: Row): SigningKey => ({
  kid: row.kid,
  alg: row.alg,
  jwk: JSON.parse(row.jwk) as IssuerJwk,
  status: row.status,
  createdAt: row.created_at,
  activatedAt: row.activated_at ?? undefined,
  retiredAt: row.retired_at ?? undefined,
  publishedUntil: row.published_until ?? undefined,
});

const toRow = (key: SigningKey): Row => ({
  kid: key.kid,
  alg: key.alg,
  jwk: JSON.stringify(key.jwk),
  status: key.status,
  created_at: key.createdAt,
  activated_at: key.activatedAt ?? null,
  retired_at: key.retiredAt ?? null,
  published_until: key.publishedUntil ?? null,
});

export function createSigningKeyTable({ db }: { readonly db: Database }): SigningKeyTable {
  const select = db.prepare<[], Row>('SELECT * FROM signing_key ORDER BY created_at, kid');
  const remove = db.prepare<[Kid]>('DELETE FROM signing_key WHERE kid = ?');
  const insert = db.prepare<Row>(
    `INSERT INTO signing_key VALUES (@kid, @alg, @jwk, @status, @created_at, @activated_at,
                                     @retired_at, @published_until)`,
  );
  const list = () => select.all().map(toKey);

  const change = db.transaction(({ seen, put, remove: gone = [] }: SigningKeyChange): void => {
    if (!isDeepStrictEqual(list(), seen)) throw new SigningKeysChangedError();
    // First out, then in: at no moment may an algorithm have two active keys.
    for (const kid of [...gone, ...put.map((key) => key.kid)]) remove.run(kid);
    for (const key of put) insert.run(toRow(key));
  });

  return { list, change: (wanted) => change.immediate(wanted) };
}
