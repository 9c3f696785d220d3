/**
 * `POST /api/v1/devices/import` and `/services/import`: many clients in one transaction. A line that is
 * not valid is refused by itself; the others of its batch are registered all the same.
 *
 * The same line again changes nothing and is counted as `unchanged`, so that an import which was broken
 * off can be begun anew. A line never changes a client that is there.
 *
 * Units   NumericDate; `token_ttl_seconds` in seconds; 1 to 1000 lines, at most 1 MiB together.
 * Errors  problem details for the whole; `refused` names each line that is, counted from 0, and why.
 * Source  DESIGN 9 (I9, I10, I11).
 *
 * @module
 */
import { ConfigError, FormatError, parseWith } from '@latchkey/shared';
import * as v from 'valibot';
import {
  type ImportedClient,
  type ImportOutcome,
  MAX_IMPORT_CLIENTS,
} from '../registry/client-import.js';
import type { Registry } from '../registry/registry.js';
import { LINE_KINDS, type Line, type LineKind, namedKeys, toClient } from './import-line.js';
import { documented, toJsonSchema } from './json-schema.js';
import type { KeyChecks } from './key-checks.js';
import { type Json, type Route, route } from './route.js';

const MAX_BODY_BYTES = 1_048_576;

const answer = v.strictObject({
  created: v.number(),
  unchanged: v.number(),
  refused: v.array(
    v.strictObject({
      index: v.number(),
      errors: v.array(v.strictObject({ field: v.string(), message: v.string() })),
    }),
  ),
});
type Refusal = {
  readonly index: number;
  readonly errors: readonly { readonly field: string; readonly message: string }[];
};

interface Batch {
  readonly clients: readonly { readonly index: number; readonly client: ImportedClient }[];
  readonly refused: readonly Refusal[];
}

type Outcome = Refusal | { readonly index: number; readonly line: Line; client: ImportedClient };

function readLine(index: number, input: unknown, { schema, kind }: LineKind): Outcome {
  try {
    const line = parseWith(schema, input, 'the line');
    return { index, line, client: toClient(line, kind) };
  } catch (error) {
    if (error instanceof FormatError) {
      return { index, errors: [{ field: error.field, message: error.problem }] };
    }
    if (!(error instanceof ConfigError)) throw error;
    const errors = error.problems.map(({ path, message }) => ({ field: path, message }));
    return { index, errors };
  }
}

/** Sorts lines that can be registered from those that cannot, whatever the registry holds. */
async function readBatch(
  lines: readonly unknown[],
  lineKind: LineKind,
  keyChecks: KeyChecks,
): Promise<Batch> {
  const read = lines.map((line, index) => readLine(index, line, lineKind));
  const readable = read.flatMap((one) => ('client' in one ? one : []));
  const keys = readable.flatMap(({ index, line }) =>
    namedKeys(line).map(([field, { raw }]) => ({ index, field, raw })),
  );
  const isGood = await keyChecks.check(keys.map(({ raw }) => raw));
  const weak = new Map(
    keys.filter((_, i) => isGood[i] !== true).map(({ index, field }) => [index, field]),
  );
  return {
    clients: readable.filter(({ index }) => !weak.has(index)),
    refused: [
      ...read.flatMap((one) => ('errors' in one ? one : [])),
      ...[...weak].map(([index, field]) => ({
        index,
        errors: [{ field, message: 'is not a canonical Ed25519 point of prime order' }],
      })),
    ],
  };
}

function toJson({ clients, refused }: Batch, outcomes: readonly ImportOutcome[]): Json {
  const count = (wanted: ImportOutcome['outcome']) =>
    outcomes.filter(({ outcome }) => outcome === wanted).length;
  const later = outcomes.flatMap((outcome, i): Refusal[] => {
    if (outcome.outcome !== 'refused') return [];
    const { field, problem: message } = outcome;
    return [{ index: clients[i]?.index as number, errors: [{ field, message }] }];
  });
  return {
    created: count('created'),
    unchanged: count('unchanged'),
    refused: [...refused, ...later].sort((a, b) => a.index - b.index),
  };
}

export function clientImportRoutes(deps: {
  readonly registry: Registry;
  readonly keyChecks: KeyChecks;
}): readonly Route[] {
  const { registry, keyChecks } = deps;
  return LINE_KINDS.map((lineKind) => {
    const { kind, schema } = lineKind;
    return route({
      method: 'POST',
      path: `/${kind}s/import`,
      needs: { scope: 'clients:write', concerns: 'clients' },
      summary: `Register many ${kind}s at once; each line is registered as a whole, is there already, or is refused`,
      body: v.strictObject({
        lines: v.pipe(
          v.array(v.unknown()),
          documented({ items: toJsonSchema(schema) }),
          v.minLength(1, 'must not be empty'),
          v.maxLength(MAX_IMPORT_CLIENTS, `must not be more than ${MAX_IMPORT_CLIENTS}`),
        ),
        dry_run: v.optional(v.boolean(), false),
      }),
      bodyLimit: MAX_BODY_BYTES,
      answer,
      success: 200,
      change: { event: 'clients.imported', subject: 'count' },
      handle: async ({ operator, body: { lines, dry_run: isDryRun } }) => {
        const batch = await readBatch(lines, lineKind, keyChecks);
        const outcomes = await registry.importClients(
          batch.clients.map(({ client }) => client),
          { reach: operator.reach, isDryRun },
        );
        const body = toJson(batch, outcomes);
        return { body, target: isDryRun ? 0 : (body.created as number) };
      },
    });
  });
}
