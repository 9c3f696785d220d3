/**
 * What routes of all nouns have in common: ids in the path, and lists in pages.
 *
 * Units   `limit`: items of a page, 1 to 1000, default 100.
 * Errors  `MissingError` for what cannot be an id.
 * Source  none.
 *
 * @module
 */
import { FormatError } from '@latchkey/shared';
import * as v from 'valibot';
import { MissingError } from '../registry/lifecycle.js';
import type { Page } from '../registry/registry.js';
import type { Json, RouteAnswer } from './route.js';

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1000;
const MAX_CURSOR_LENGTH = 255;
const LIMIT_PROBLEM = `must be a whole number from 1 to ${MAX_LIMIT}`;
export const ONCE = 'must be given once';

/** Parameters of every list. */
export const pageEntries: {
  readonly limit: v.GenericSchema<unknown, number>;
  readonly after: v.GenericSchema<unknown, string | undefined>;
} = {
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
      v.string(ONCE),
      v.maxLength(MAX_CURSOR_LENGTH, 'must be `next` of the page before'),
      v.description('`next` of the page before'),
    ),
  ),
};

export const pageQuery: v.GenericSchema<unknown, { limit: number; after: string | undefined }> =
  v.pipe(
    v.strictObject(pageEntries),
    v.transform(({ limit, after }) => ({ limit, after })),
  );

/** Form of a list's answer. */
export function pageOf(item: v.GenericSchema): v.GenericSchema {
  return v.strictObject({ items: v.array(item), next: v.nullable(v.string()) });
}

export function pageAnswer<Item>(
  { items, next }: Page<Item>,
  toJson: (item: Item) => Json,
): RouteAnswer {
  return { body: { items: items.map(toJson), next: next ?? null } };
}

/** Reads an id of the path; what cannot be one names nothing. */
export function readId<Id>(
  parse: (text: string) => Id,
  text: string | undefined,
  noun: string,
): Id {
  try {
    return parse(text ?? '');
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    throw new MissingError(noun);
  }
}

/** The item, or the refusal that there is none. */
export function found<Item>(item: Item | undefined, noun: string): Item {
  if (item === undefined) throw new MissingError(noun);
  return item;
}
