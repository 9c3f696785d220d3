/**
 * Public halves and states of the authority's signing keys in SQLite.
 *
 * Units   NumericDate.
 * Errors  `ConflictError` for a key that is there, and for a second active one.
 * Source  DESIGN 5; RFC 7638 (`kid`).
 *
 * @module
 */
import type { Clock, Kid, PublicKey } from '@latchkey/shared';
import type { Database } from 'better-sqlite3';
import { ConflictError, type SigningKey, type SigningKeyStatus } from '../registry.js';

export interface SigningKeys {
  add(key: PublicKey, status: SigningKeyStatus): void;
  list(): readonly SigningKey[];
}

interface Row {
  readonly kid: Kid;
  readonly x: string;
  readonly status: SigningKeyStatus;
  readonly created_at: number;
}

export function createSigningKeys({ db, clock }: { db: Database; clock: Clock }): SigningKeys {
  const insert = db.prepare<Row>(
    `INSERT INTO signing_key (kid, x, status, created_at) VALUES (@kid, @x, @status, @created_at)
     ON CONFLICT DO NOTHING`,
  );
  const select = db.prepare<[], Row>('SELECT * FROM signing_key ORDER BY created_at, kid');
  return {
    add: ({ kid, jwk }, status) => {
      const { changes } = insert.run({ kid, x: jwk.x, status, created_at: clock.now() });
      if (changes === 0) {
        throw new ConflictError('signing key', 'is there already, or another one is active');
      }
    },
    list: () =>
      select.all().map((row) => ({
        kid: row.kid,
        jwk: { kty: 'OKP', crv: 'Ed25519', x: row.x },
        status: row.status,
        createdAt: row.created_at,
      })),
  };
}
