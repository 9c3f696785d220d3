/**
 * How the items of a noun are shown to people: its fields, and one item as a list of them.
 *
 * Units   widths in characters.
 * Errors  none.
 * Source  none.
 *
 * @module
 */
import { formatInstant } from '@latchkey/shared';
import type { Item } from './management-client.js';

export interface Field {
  readonly heading: string;
  readonly text: (item: Item) => string;
  /** Too long for a table; left out when there is nothing to tell. */
  readonly isOnlyForShow?: boolean;
  /** Says little when it is cut, so a narrow table cuts others first. */
  readonly isWhole?: boolean;
}

export interface NounView {
  /** Singular, as in the command. */
  readonly noun: string;
  /** Path of the management API. */
  readonly path: string;
  readonly fields: readonly Field[];
  /** Whether each label can be a column, `label.<key>`. */
  readonly hasLabels?: boolean;
}

/** A heading as options and CSV write it: `client_id`. */
export const columnName = ({ heading }: Field): string => heading.replaceAll(' ', '_');

/** Text of a member as it is; nothing for an absent one. */
export const plain =
  (name: string) =>
  (item: Item): string =>
    String(item[name] ?? '');

export const joined =
  (name: string, separator = ' ') =>
  (item: Item): string => {
    const value = item[name];
    return Array.isArray(value) ? value.join(separator) : '';
  };

export const instant =
  (name: string) =>
  (item: Item): string => {
    const value = item[name];
    return typeof value === 'number' ? formatInstant(value) : '';
  };

/** `yes`, and nothing instead of no. */
export const yes =
  (name: string) =>
  (item: Item): string =>
    item[name] === true ? 'yes' : '';

/** `key=value` of each label. */
export const labels = (item: Item): string =>
  Object.entries({ ...(item.labels as object) })
    .map(([key, value]) => `${key}=${value}`)
    .join(' ');

/** One field a line; further lines of a field are aligned with its first. */
export function formatItem(view: NounView, item: Item): string {
  const shown = view.fields
    .map(({ heading, text, isOnlyForShow }) => ({ heading, text: text(item), isOnlyForShow }))
    .filter(({ text, isOnlyForShow }) => text !== '' || isOnlyForShow !== true);
  const width = Math.max(...shown.map(({ heading }) => heading.length));
  return shown
    .map(({ heading, text }) => {
      const value = (text || '-').replaceAll('\n', `\n${' '.repeat(width + 2)}`);
      return `${heading.padEnd(width)}  ${value}`;
    })
    .join('\n');
}
