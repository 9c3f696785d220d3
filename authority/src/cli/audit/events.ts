/**
 * Reads the audit log page by page, so that a log of any length fits in memory.
 *
 * Units   `--since`: a duration such as 1h, before now.
 * Errors  those of the management client; `FormatError` for a duration.
 * Source  DESIGN 5.
 *
 * @module
 */
import { parseDuration, UnreachableError } from '@latchkey/shared';
import * as v from 'valibot';
import type { AuditRecord, AuditState } from '../../registry/audit-log.js';
import type { Io } from '../io.js';
import type { Item, ManagementClient, ManagementOptions, Query } from '../management-client.js';

/** Options that choose events. */
export interface EventOptions extends ManagementOptions {
  readonly client?: string;
  readonly type?: string;
  readonly outcome?: string;
  readonly since?: string;
}

const PATH = '/audit';
const PAGE_LIMIT = '1000';

const pageSchema = v.object({
  items: v.array(v.record(v.string(), v.unknown())),
  next: v.nullable(v.string()),
});

const text = v.pipe(
  v.nullable(v.string()),
  v.transform((value) => value ?? undefined),
);
const eventSchema = v.object({
  sequence: v.number(),
  at: v.number(),
  type: v.string(),
  actor: text,
  action: v.string(),
  target: text,
  outcome: v.string(),
  client_id: text,
  jti: text,
  kid: text,
  address: text,
  detail: text,
  previous_hash: v.string(),
  hash: v.string(),
});

const stateSchema = v.object({
  checkpoint: v.object({ sequence: v.number(), hash: v.string() }),
  last_sequence: v.number(),
});

function parseAs<Schema extends v.GenericSchema>(
  schema: Schema,
  value: unknown,
): v.InferOutput<Schema> {
  const result = v.safeParse(schema, value);
  if (result.success) return result.output;
  throw new UnreachableError('the authority answered with something unexpected');
}

/** The event as it was hashed, whatever its fields say. */
export function toRecord(item: Item): AuditRecord {
  const { client_id: clientId, previous_hash: previousHash, ...rest } = parseAs(eventSchema, item);
  return { ...rest, clientId, previousHash } as AuditRecord;
}

export function queryOf({ client, type, outcome, since }: EventOptions, io: Io): Query {
  const from = since === undefined ? undefined : io.clock.now() - parseDuration(since, '--since');
  return { client, type, outcome, since: from === undefined ? undefined : String(from) };
}

/** Where the chain begins and ends. */
export async function readState(management: ManagementClient): Promise<AuditState> {
  const answer = parseAs(stateSchema, await management.get(`${PATH}/state`));
  return { checkpoint: answer.checkpoint, lastSequence: answer.last_sequence };
}

/** Events in the order of the chain, after the sequence given. */
export async function* eachEvent(
  management: ManagementClient,
  query: Query,
  from?: number,
): AsyncGenerator<Item> {
  let after = from === undefined ? undefined : String(from);
  do {
    const page = parseAs(
      pageSchema,
      await management.get(PATH, { ...query, limit: PAGE_LIMIT, after }),
    );
    yield* page.items;
    after = page.next ?? undefined;
  } while (after !== undefined);
}

/** The newest events, the oldest of them first. */
export async function newestEvents(
  management: ManagementClient,
  query: Query,
  count: number,
): Promise<readonly Item[]> {
  const items: Item[] = [];
  let after: string | undefined;
  while (items.length < count) {
    const limit = String(Math.min(1000, count - items.length));
    const page = parseAs(
      pageSchema,
      await management.get(PATH, { ...query, order: 'newest', limit, after }),
    );
    items.push(...page.items);
    if (page.next === null) break;
    after = page.next;
  }
  return items.reverse();
}
