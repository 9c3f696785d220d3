/**
 * How clients end: suspended, revoked, deleted; and ids that were freed.
 *
 * Units   NumericDate.
 * Errors  `ConflictError` for what cannot be undone, `MissingError`, and those of `ClientChanges`.
 * Source  DESIGN 5 and 8; STYLE 2.4 (revocation is permanent, suspension is not).
 *
 * @module
 */
import type { ClientId, Clock } from '@latchkey/shared';
import type { Database } from 'better-sqlite3';
import { type Condition, MissingError } from '../lifecycle.js';
import type { Client, ClientStatus } from '../registry.js';
import { ConflictError } from '../registry.js';
import type { ClientChanges } from './client-changes.js';
import type { ClientReader } from './client-reader.js';

export interface ClientEndings {
  setStatus(id: ClientId, status: ClientStatus, condition?: Condition): Client;
  remove(id: ClientId, condition?: Condition): void;
  free(id: ClientId): void;
}

/** Tables with a column `client`, in an order that their references allow. */
const TABLES_OF_CLIENT = [
  'key_rotation',
  'secret_rotation',
  'client_secret',
  'client_key',
  'client_label',
  'client_role',
  'enrollment_use',
] as const;

export function createClientEndings(deps: {
  readonly db: Database;
  readonly clock: Clock;
  readonly reader: ClientReader;
  readonly changes: ClientChanges;
}): ClientEndings {
  const { db, clock, reader, changes } = deps;
  const updateStatus = db.prepare<{ id: ClientId; status: ClientStatus }>(
    'UPDATE client SET status = @status WHERE id = @id',
  );
  const voidTokens = db.prepare<{ id: ClientId; now: number }>(
    'UPDATE client SET tokens_not_before = max(tokens_not_before, @now) WHERE id = @id',
  );
  const deletions = [
    ...TABLES_OF_CLIENT.map((table) => `DELETE FROM ${table} WHERE client = ?`),
    // A removed key stays known, so that nobody registers it again.
    'UPDATE key_owner SET client = NULL WHERE client = ?',
    'DELETE FROM client WHERE id = ?',
  ].map((sql) => db.prepare<[string]>(sql));
  const revokeEnrollments = db.prepare<{ id: ClientId; now: number }>(
    `UPDATE enrollment SET revoked_at = @now, version = version + 1
      WHERE client_id = @id AND revoked_at IS NULL`,
  );
  const insertTombstone = db.prepare<{ id: ClientId; kind: string; now: number; version: number }>(
    `INSERT INTO client_tombstone (id, kind, deleted_at, version)
     VALUES (@id, @kind, @now, @version)`,
  );
  const free = db.prepare<{ id: ClientId; now: number }>(
    'UPDATE client_tombstone SET freed_at = @now WHERE id = @id AND freed_at IS NULL',
  );

  const setStatus = db.transaction(
    (id: ClientId, status: ClientStatus, condition?: Condition): Client => {
      const before = changes.checked(id, condition);
      if (before.status === status) return before;
      if (before.status === 'revoked') {
        throw new ConflictError('status', 'is revoked, which is final');
      }
      updateStatus.run({ id, status });
      if (status === 'revoked') voidTokens.run({ id, now: clock.now() });
      changes.touch(id);
      return reader.client(id) as Client;
    },
  );

  const remove = db.transaction((id: ClientId, condition?: Condition): void => {
    const { kind, version } = changes.checked(id, condition);
    const now = clock.now();
    revokeEnrollments.run({ id, now });
    for (const deletion of deletions) deletion.run(id);
    insertTombstone.run({ id, kind, now, version });
  });

  return {
    setStatus: (id, status, condition) => setStatus.immediate(id, status, condition),
    remove: (id, condition) => remove.immediate(id, condition),
    free: (id) => {
      if (free.run({ id, now: clock.now() }).changes === 0)
        throw new MissingError('deleted client');
    },
  };
}
