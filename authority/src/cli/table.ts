/**
 * Items as a table for people, cut to the width of their terminal, or as CSV for other programs.
 *
 * Units   widths in columns of a terminal.
 * Errors  none.
 * Source  RFC 4180; Unicode UAX 11 (wide characters take two columns).
 *
 * @module
 */
import { formatCell } from './import/csv.js';
import type { Item } from './management-client.js';
import { columnName, type Field, type NounView } from './noun-view.js';

const GAP = '  ';
const ELLIPSIS = '…';
const NO_WIDTH = /^[\p{M}\p{Cf}]$/u;
const TWO_WIDE =
  /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Emoji_Presentation}\u3000-\u30ff\uff01-\uff60]$/u;

function characterWidth(character: string): number {
  if (NO_WIDTH.test(character)) return 0;
  return TWO_WIDE.test(character) ? 2 : 1;
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

export function textWidth(text: string): number {
  return sum([...text].map(characterWidth));
}

function cut(text: string, width: number): string {
  if (textWidth(text) <= width) return text;
  let kept = '';
  let left = width - textWidth(ELLIPSIS);
  for (const character of text) {
    left -= characterWidth(character);
    if (left < 0) break;
    kept += character;
  }
  return `${kept}${ELLIPSIS}`;
}

/** The most that each column may have for all to fit into the room, so that the widest lose first. */
function fairWidth(widths: readonly number[], room: number): number {
  let most = Math.max(1, ...widths);
  while (most > 1 && sum(widths.map((width) => Math.min(width, most))) > room) most -= 1;
  return most;
}

/** Widths that fit into a line, as far as that is possible; whole columns are cut last. */
function fit(fields: readonly Field[], widths: readonly number[], width: number): number[] {
  const room = width - GAP.length * (widths.length - 1);
  if (sum(widths) <= room) return [...widths];
  const isWhole = fields.map((field) => field.isWhole === true);
  const wholeRoom = sum(widths.filter((_, column) => isWhole[column]));
  const cuttable = widths.filter((_, column) => !isWhole[column]);
  const most = fairWidth(cuttable, room - wholeRoom);
  const fitted = widths.map((one, column) => (isWhole[column] ? one : Math.min(one, most)));
  if (sum(fitted) <= room) return fitted;
  const least = fairWidth(fitted, room);
  return fitted.map((one) => Math.min(one, least));
}

const isInTable = ({ isOnlyForShow }: Field): boolean => isOnlyForShow !== true;
const oneLine = (text: string): string => text.replaceAll('\n', ' ');

/** Aligned columns under headings; with a width, no line is longer. */
export function formatTable(view: NounView, items: readonly Item[], width?: number): string {
  const fields = view.fields.filter(isInTable);
  const columns = fields.map(({ heading, text }) => [
    heading.toUpperCase(),
    ...items.map((item) => oneLine(text(item)) || '-'),
  ]);
  const natural = columns.map((cells) =>
    cells.reduce((most, c) => Math.max(most, textWidth(c)), 0),
  );
  const widths = width === undefined ? natural : fit(fields, natural, width);
  const cellAt = (row: number) => (cells: readonly string[], column: number) => {
    const size = widths[column] ?? 0;
    const text = cut(cells[row] ?? '', size);
    return `${text}${' '.repeat(size - textWidth(text))}`;
  };
  return [...(columns[0] ?? []).keys()]
    .map((row) => columns.map(cellAt(row)).join(GAP).trimEnd())
    .join('\n');
}

/** The same under the names of the columns, never cut; an absent value is an empty cell. */
export function formatCsv(view: NounView, items: readonly Item[]): string {
  const fields = view.fields.filter(isInTable);
  const rows = [
    fields.map(columnName),
    ...items.map((item) => fields.map(({ text }) => oneLine(text(item)))),
  ];
  return rows.map((cells) => cells.map(formatCell).join(',')).join('\n');
}
