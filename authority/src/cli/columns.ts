/**
 * Which columns of a list are shown, and what it is sorted by.
 *
 * Units   none.
 * Errors  `UsageError` names a column that is not known, and those that are.
 * Source  STYLE 2.10.
 *
 * @module
 */
import { UsageError } from '@latchkey/shared';
import type { Item } from './management-client.js';
import { columnName, type Field, type NounView } from './noun-view.js';

function readNames(text: string, option: string): readonly string[] {
  const names = text.split(',').map((name) => name.trim());
  if (names.every((name) => name !== '')) return names;
  throw new UsageError(`${option} must be names of columns, separated by commas`);
}

function findField({ fields, hasLabels }: NounView, name: string, option: string): Field {
  const field = fields.find((one) => columnName(one) === name);
  if (field !== undefined) return field;
  const key = /^label\.(.+)$/.exec(name)?.[1];
  if (hasLabels && key !== undefined) {
    return {
      heading: name,
      text: ({ labels }) =>
        String(new Map(Object.entries({ ...(labels as object) })).get(key) ?? ''),
    };
  }
  const known = [...fields.map(columnName), ...(hasLabels ? ['label.<key>'] : [])];
  throw new UsageError(`${option}: there is no column ${name}; there are ${known.join(', ')}`);
}

/** The noun with only these columns, in this order, such as `client_id,label.site`. */
export function chooseColumns(view: NounView, text: string): NounView {
  const fields = readNames(text, '--columns').map((name) => ({
    ...findField(view, name, '--columns'),
    isOnlyForShow: false,
  }));
  return { ...view, fields };
}

/** Numbers within a text count as numbers, so that t-9 is before t-10. */
const collator = new Intl.Collator('en', { numeric: true });

type Compare = (a: Item, b: Item) => number;

/** What is absent is last either way. */
function compareBy({ text }: Field, direction: 1 | -1): Compare {
  return (a, b) => {
    const [left, right] = [text(a), text(b)];
    if (left === '' || right === '') return Number(left === '') - Number(right === '');
    return direction * collator.compare(left, right);
  };
}

/** Reads `status,-created`: by status, then the newest first. */
export function parseSort(view: NounView, text: string): Compare {
  const comparisons = readNames(text, '--sort').map((name) =>
    name.startsWith('-')
      ? compareBy(findField(view, name.slice(1), '--sort'), -1)
      : compareBy(findField(view, name, '--sort'), 1),
  );
  return (a, b) => {
    for (const compare of comparisons) {
      const order = compare(a, b);
      if (order !== 0) return order;
    }
    return 0;
  };
}
