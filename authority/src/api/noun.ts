/**
 * What all nouns of the management API have in common: create, show, and lists in pages.
 *
 * Units   `limit`: items of a page, 1 to 1000, default 100.
 * Errors  `ConfigError` for a body or query that is not valid, `NotFoundError`.
 * Source  RFC 9110 15.3.2 (201).
 *
 * @module
 */
import { FormatError, parseWith } from '@latchkey/shared';
import type { FastifyInstance } from 'fastify';
import * as v from 'valibot';
import type { Page, PageRequest } from '../registry/registry.js';

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1000;
const MAX_CURSOR_LENGTH = 255;

/** There is no item of that id. */
export class NotFoundError extends Error {
  constructor(noun: string) {
    super(`there is no such ${noun}`);
    this.name = 'NotFoundError';
  }
}

/** Members of an answer, in `snake_case`. */
export type Json = Readonly<Record<string, unknown>>;

export interface Noun<Item> {
  /** Singular, for messages. */
  readonly name: string;
  /** Plural, as in the URL. */
  readonly path: string;
  /** Returns the answer, which may hold more than `toJson` shows later. */
  create(body: unknown): Promise<Json>;
  /** Item of that id; `FormatError` for what cannot be an id. */
  show(id: string): Promise<Item | undefined>;
  list(page: PageRequest): Promise<Page<Item>>;
  toJson(item: Item): Json;
}

const LIMIT_PROBLEM = `must be a whole number from 1 to ${MAX_LIMIT}`;
const pageSchema = v.strictObject({
  limit: v.optional(
    v.pipe(
      v.string(LIMIT_PROBLEM),
      v.regex(/^[1-9][0-9]{0,3}$/, LIMIT_PROBLEM),
      v.transform(Number),
      v.maxValue(MAX_LIMIT, LIMIT_PROBLEM),
    ),
    String(DEFAULT_LIMIT),
  ),
  after: v.optional(
    v.pipe(
      v.string('must be given once'),
      v.maxLength(MAX_CURSOR_LENGTH, 'must be `next` of the page before'),
    ),
  ),
});

async function find<Item>(noun: Noun<Item>, id: string): Promise<Item> {
  try {
    const item = await noun.show(id);
    if (item !== undefined) return item;
  } catch (error) {
    // What cannot be an id names nothing.
    if (!(error instanceof FormatError)) throw error;
  }
  throw new NotFoundError(noun.name);
}

export function registerNoun<Item>(app: FastifyInstance, noun: Noun<Item>): void {
  app.post(noun.path, async (request, reply) => {
    const answer = await noun.create(request.body ?? {});
    reply.code(201);
    return answer;
  });
  app.get(noun.path, async (request) => {
    const { limit, after } = parseWith(pageSchema, { ...(request.query as object) }, 'the query');
    const { items, next } = await noun.list({ limit, after });
    return { items: items.map((item) => noun.toJson(item)), next: next ?? null };
  });
  app.get<{ Params: { id: string } }>(`${noun.path}/:id`, async (request) =>
    noun.toJson(await find(noun, request.params.id)),
  );
}
