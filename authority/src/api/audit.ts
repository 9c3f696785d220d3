/**
 * `/api/v1/audit`: the audit log, to read. Nothing changes it from outside.
 *
 * A page may hold fewer events than its limit and still have a next one, since it looks at so many
 * events and no more; `next` is `null` on the last page only.
 *
 * Units   `at`, `since`: NumericDate.
 * Errors  problem details.
 * Source  DESIGN 5; `audit/event-hash.ts` (the chain).
 *
 * @module
 */
import { FormatError } from '@latchkey/shared';
import * as v from 'valibot';
import {
  AUDIT_OUTCOMES,
  AUDIT_TYPES,
  type AuditFilter,
  type AuditPageRequest,
  type AuditRecord,
  type ChainPlace,
} from '../registry/audit-log.js';
import type { Registry } from '../registry/registry.js';
import { clientIdField } from './fields.js';
import { ONCE, pageAnswer, pageEntries, pageOf } from './noun.js';
import { type Json, type Route, route } from './route.js';

const READ = { scope: 'audit:read', concerns: 'fleet' } as const;
const CURSOR = /^(?:0|[1-9][0-9]{0,14})$/;
const SINCE_PROBLEM = 'must be whole seconds since 1970';

const shownPlace = v.strictObject({ sequence: v.number(), hash: v.string() });
const shownEvent = v.strictObject({
  sequence: v.number(),
  at: v.number(),
  type: v.picklist(AUDIT_TYPES),
  actor: v.nullable(v.string()),
  action: v.string(),
  target: v.nullable(v.string()),
  outcome: v.picklist(AUDIT_OUTCOMES),
  client_id: v.nullable(v.string()),
  jti: v.nullable(v.string()),
  kid: v.nullable(v.string()),
  address: v.nullable(v.string()),
  detail: v.nullable(v.string()),
  previous_hash: v.string(),
  hash: v.string(),
});

const query = v.strictObject({
  ...pageEntries,
  order: v.optional(v.picklist(['oldest', 'newest']), 'oldest'),
  client: v.optional(clientIdField),
  type: v.optional(v.picklist(AUDIT_TYPES)),
  outcome: v.optional(v.picklist(AUDIT_OUTCOMES)),
  since: v.optional(
    v.pipe(v.string(ONCE), v.regex(/^[0-9]{1,12}$/, SINCE_PROBLEM), v.transform(Number)),
  ),
});

const eventToJson = (event: AuditRecord): Json => ({
  sequence: event.sequence,
  at: event.at,
  type: event.type,
  actor: event.actor ?? null,
  action: event.action,
  target: event.target ?? null,
  outcome: event.outcome,
  client_id: event.clientId ?? null,
  jti: event.jti ?? null,
  kid: event.kid ?? null,
  address: event.address ?? null,
  detail: event.detail ?? null,
  previous_hash: event.previousHash,
  hash: event.hash,
});

const placeToJson = ({ sequence, hash }: ChainPlace): Json => ({ sequence, hash });

function readQuery(read: v.InferOutput<typeof query>): {
  readonly filter: AuditFilter;
  readonly page: AuditPageRequest;
} {
  const { limit, after, order, client: clientId, type, outcome, since } = read;
  if (after !== undefined && !CURSOR.test(after)) {
    throw new FormatError('after', 'must be `next` of the page before');
  }
  return {
    filter: { clientId, type, outcome, since },
    page: { limit, after, isNewestFirst: order === 'newest' },
  };
}

export function auditRoutes({ registry }: { readonly registry: Registry }): readonly Route[] {
  return [
    route({
      method: 'GET',
      path: '/audit',
      needs: READ,
      summary: 'List audit events, the oldest first unless order=newest',
      query,
      answer: pageOf(shownEvent),
      success: 200,
      handle: async ({ query: read }) => {
        const { filter, page } = readQuery(read);
        return pageAnswer(await registry.listEvents(filter, page), eventToJson);
      },
    }),
    route({
      method: 'GET',
      path: '/audit/state',
      needs: READ,
      summary: 'Where the kept audit log begins and ends, for verifying its chain',
      answer: v.strictObject({ checkpoint: shownPlace, last_sequence: v.number() }),
      success: 200,
      handle: async () => {
        const { checkpoint, lastSequence } = await registry.auditState();
        return { body: { checkpoint: placeToJson(checkpoint), last_sequence: lastSequence } };
      },
    }),
  ];
}
