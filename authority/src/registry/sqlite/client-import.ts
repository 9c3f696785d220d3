/**
 * Imports clients into SQLite in one transaction. Each line is refused before anything of it is written,
 * so that none needs a savepoint of its own.
 *
 * Units   NumericDate.
 * Errors  none of its own; what the storage throws undoes the whole batch.
 * Source  DESIGN 9 (I9, I10).
 *
 * @module
 */
import { type Clock, FormatError } from '@latchkey/shared';
import type { Database } from 'better-sqlite3';
import type { ImportedClient, ImportOutcome } from '../client-import.js';
import { OutOfReachError, type Reach } from '../lifecycle.js';
import { type Client, ConflictError } from '../registry.js';
import type { ClientChanges } from './client-changes.js';
import type { ClientKeys } from './client-keys.js';
import { type ClientReader, isWithin } from './client-reader.js';
import { createRowInsert, type NewRow } from './client-rows.js';
import type { ClientSecrets } from './client-secrets.js';
import type { Clients } from './clients.js';
import type { RoleLabels } from './role-labels.js';

export type ImportClients = (
  clients: readonly ImportedClient[],
  options?: { readonly reach?: Reach | undefined; readonly isDryRun?: boolean },
) => readonly ImportOutcome[];

/** Carries the outcomes out of a transaction that must not remain. */
class DryRun extends Error {
  readonly outcomes: readonly ImportOutcome[];

  constructor(outcomes: readonly ImportOutcome[]) {
    super('a dry run is rolled back');
    this.outcomes = outcomes;
  }
}

const isSameSet = (some: readonly string[], others: readonly string[]): boolean =>
  new Set(some).size === new Set(others).size && some.every((one) => others.includes(one));

/** Whether an imported client brings along a secret that is not the one that is there, by what is shown of it. */
const hasOtherSecret = ({ secrets }: Client, { secret }: ImportedClient): boolean =>
  secret !== undefined &&
  !secrets.some((one) => one.prefix === secret.prefix && one.lastFour === secret.lastFour);

/** What the line states and the client has otherwise. */
function differences(client: Client, line: ImportedClient): readonly string[] {
  const { status, roles, labels, keys, mayMint, tokenTtlSeconds } = line;
  const lines = (map: ReadonlyMap<string, string>) => [...map].map((entry) => entry.join('='));
  const kids = (list: readonly { readonly kid: string }[]) => list.map(({ kid }) => kid);
  const found = {
    status: status !== undefined && status !== client.status,
    roles: roles !== undefined && !isSameSet(roles, client.roles),
    labels: labels !== undefined && !isSameSet(lines(labels), lines(client.labels)),
    keys: keys !== undefined && !isSameSet(kids(keys.map(({ key }) => key)), kids(client.keys)),
    secrets: hasOtherSecret(client, line),
    may_mint: mayMint !== undefined && mayMint !== client.mayMint,
    token_ttl_seconds: tokenTtlSeconds !== undefined && tokenTtlSeconds !== client.tokenTtlSeconds,
  };
  return Object.entries(found)
    .filter(([, isOther]) => isOther)
    .map(([name]) => name);
}

function compare(client: Client, line: ImportedClient, reach: Reach | undefined): void {
  if (!isWithin(reach, client.labels)) throw new ConflictError('client_id', 'is taken');
  if (client.kind !== line.kind)
    throw new ConflictError('client_id', `is taken by a ${client.kind}`);
  const names = differences(client, line);
  if (names.length === 0) return;
  throw new ConflictError('client_id', `is there already, with other ${names.join(', ')}`);
}

/** Why a line is refused; anything unexpected is thrown. */
function refusalOf(error: unknown): { readonly field: string; readonly problem: string } {
  if (error instanceof ConflictError || error instanceof FormatError) {
    const { field, problem } = error;
    return { field, problem };
  }
  if (!(error instanceof OutOfReachError)) throw error;
  return { field: 'client_id', problem: `is refused: ${error.message}` };
}

/** What will be written next, with one statement for each table. */
interface Batch {
  readonly reach: Reach | undefined;
  readonly checkRoles: RoleLabels['checkRoles'];
  readonly rows: Map<string, NewRow>;
  /** Keys and secrets of these rows. */
  readonly taken: Set<string>;
}

const newBatch = (reach: Reach | undefined, roleLabels: RoleLabels): Batch => ({
  ...{ reach, checkRoles: roleLabels.rememberingCheck() },
  ...{ rows: new Map(), taken: new Set() },
});

export function createClientImport(deps: {
  readonly db: Database;
  readonly clock: Clock;
  readonly reader: ClientReader;
  readonly changes: ClientChanges;
  readonly clients: Clients;
  readonly clientKeys: ClientKeys;
  readonly secrets: ClientSecrets;
  readonly roleLabels: RoleLabels;
}): ImportClients {
  const { db, reader, changes, clients, clientKeys, secrets, roleLabels } = deps;
  const insertRows = createRowInsert(deps);

  /** Everything for which a line can be refused, beside what the rows before it take. */
  const check = (line: ImportedClient, { reach, checkRoles }: Batch): void => {
    const { roles = [], labels = new Map(), keys = [], secret } = line;
    changes.checkReach(reach, { roles, labels });
    checkRoles(roles, labels);
    for (const { key } of keys) clientKeys.checkFree(key.kid);
    if (secret !== undefined) secrets.checkFree(secret);
  };

  /** Puts a line that may be registered among the rows to write. */
  const examine = (line: ImportedClient, batch: Batch): 'created' | 'unchanged' => {
    const { id, keys = [], secret } = line;
    const client = reader.client(id);
    if (client !== undefined) {
      compare(client, line, batch.reach);
      return 'unchanged';
    }
    check(line, batch);
    const row = { line, ...clients.beginningOf(id) };
    const unique = [
      ...keys.map(({ key }) => key.kid),
      ...(secret === undefined ? [] : [Buffer.from(secret.hash).toString('base64')]),
    ];
    if (new Set(unique).size < unique.length || unique.some((one) => batch.taken.has(one))) {
      throw new ConflictError('public_key', 'is given twice, or a secret is');
    }
    for (const one of unique) batch.taken.add(one);
    batch.rows.set(id, row);
    return 'created';
  };

  const importAll = db.transaction(
    (lines: readonly ImportedClient[], reach: Reach | undefined, isDryRun: boolean) => {
      const outcomes: ImportOutcome[] = [];
      let batch: Batch = newBatch(reach, roleLabels);
      const write = () => {
        insertRows([...batch.rows.values()]);
        batch = newBatch(reach, roleLabels);
      };
      for (const line of lines) {
        const { id } = line;
        // The one before it has to be there, to be compared with.
        if (batch.rows.has(id)) write();
        try {
          outcomes.push({ outcome: examine(line, batch), id });
        } catch (error) {
          outcomes.push({ outcome: 'refused', id, ...refusalOf(error) });
        }
      }
      write();
      if (isDryRun) throw new DryRun(outcomes);
      return outcomes;
    },
  );

  return (lines, { reach, isDryRun = false } = {}) => {
    try {
      return importAll.immediate(lines, reach, isDryRun);
    } catch (error) {
      if (error instanceof DryRun) return error.outcomes;
      throw error;
    }
  };
}
