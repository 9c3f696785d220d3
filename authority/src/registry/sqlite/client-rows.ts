/**
 * Writes many new clients with one statement for each table. A statement for each row would take twice
 * as long: for each one that fires triggers, SQLite copies the pages that it changes, to undo it alone.
 *
 * Units   NumericDate.
 * Errors  whatever SQLite throws, which has to undo the transaction.
 * Source  https://sqlite.org/json1.html#jeach; https://sqlite.org/tempfiles.html (Statement Journal Files).
 *
 * @module
 */
import type { ClientId, Clock } from '@latchkey/shared';
import type { Database } from 'better-sqlite3';
import type { ImportedClient } from '../client-import.js';
import type { ClientSecrets } from './client-secrets.js';
import type { Clients } from './clients.js';

/** A line that was checked, and what is left of whoever had its id. */
export interface NewRow extends ReturnType<Clients['beginningOf']> {
  readonly line: ImportedClient;
}

type Cell = string | number | null;

/** The n-th cell of a row. */
const cell = (index: number): string => `json_extract(value, '$[${index}]')`;
const cells = (count: number): string =>
  Array.from({ length: count }, (_, i) => cell(i)).join(', ');

/** For use in a transaction, in which the lines were checked. */
export function createRowInsert(deps: {
  readonly db: Database;
  readonly clock: Clock;
  readonly clients: Clients;
  readonly secrets: ClientSecrets;
}): (rows: readonly NewRow[]) => void {
  const { db, clock, clients, secrets } = deps;
  const insertInto = (columns: string, values: string) => {
    const statement = db.prepare<{ rows: string; now: number }>(
      `INSERT INTO ${columns} SELECT ${values} FROM json_each(@rows)`,
    );
    return (rows: readonly (readonly Cell[])[], now: number) => {
      if (rows.length > 0) statement.run({ rows: JSON.stringify(rows), now });
    };
  };
  const insertClients = insertInto(
    `client (id, kind, status, may_mint, token_ttl_seconds, tokens_not_before, version, created_at)`,
    `${cells(7)}, @now`,
  );
  const insertLabels = insertInto('client_label (client, key, value)', `${cells(3)}`);
  const insertRoles = insertInto('client_role (client, role)', `${cells(2)}`);
  const insertOwners = insertInto('key_owner (kid, client)', `${cells(2)}`);
  const insertKeys = insertInto(
    'client_key (kid, client, x, label, not_before, expires_at, created_at)',
    `${cells(6)}, @now`,
  );

  const clientRow = ({ line, tokensNotBefore, version }: NewRow): readonly Cell[] => {
    const { id, kind, status = 'active', mayMint = false, tokenTtlSeconds = null } = line;
    return [id, kind, status, Number(mayMint), tokenTtlSeconds, tokensNotBefore, version];
  };
  const keyRows = ({ id, keys = [] }: ImportedClient): readonly (readonly Cell[])[] =>
    keys.map(({ key, label = '', notBefore = null, expiresAt = null }) => [
      ...[key.kid, id, key.jwk.x, label],
      ...[notBefore, expiresAt],
    ]);
  const labelRows = ({ id, labels = new Map() }: ImportedClient): readonly (readonly Cell[])[] =>
    [...labels].map(([key, value]): [ClientId, string, string] => [id, key, value]);

  return (rows) => {
    const now = clock.now();
    const lines = rows.map(({ line }) => line);
    for (const { line, version } of rows) if (version > 1) clients.forget(line.id);
    insertClients(rows.map(clientRow), now);
    insertLabels(lines.flatMap(labelRows), now);
    const roles = lines.flatMap(({ id, roles: names = [] }) =>
      [...new Set(names)].map((r) => [id, r]),
    );
    insertRoles(roles, now);
    const keys = lines.flatMap(keyRows);
    insertOwners(
      keys.map(([kid, id]) => [kid as string, id as string]),
      now,
    );
    insertKeys(keys, now);
    for (const { id, secret } of lines) if (secret !== undefined) secrets.insert(id, secret);
  };
}
