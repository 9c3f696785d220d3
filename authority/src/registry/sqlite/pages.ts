/**
 * Cuts a page from rows: one row more than asked for tells whether there is a next page.
 *
 * Units   none.
 * Errors  none.
 * Source  none.
 *
 * @module
 */
import type { Page, PageRequest } from '../registry.js';

/** `rows` were read with `LIMIT limit + 1`. */
export function toPage<Row, Item>(
  rows: readonly Row[],
  limit: number,
  toItem: (row: Row) => Item,
  cursorOf: (row: Row) => string,
): Page<Item> {
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  return {
    items: shown.map(toItem),
    next: rows.length > limit && last !== undefined ? cursorOf(last) : undefined,
  };
}

/** Parameters of a page in the order of names; every name comes after the empty string. */
export function pageParameters({ after = '', limit }: PageRequest): {
  readonly after: string;
  readonly limit: number;
} {
  return { after, limit: limit + 1 };
}
