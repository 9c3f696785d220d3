/**
 * CSV with a header: `client_id`, `public_key`, `roles`, `labels` or `label.<key>`, `may_mint`,
 * `token_ttl_seconds`, `status`; `reason`, of a file of refused lines, is passed over.
 *
 * Units   bytes.
 * Errors  `UsageError` for a header or a file that cannot be read as CSV.
 * Source  RFC 4180; https://csv.js.org/parse/options/
 *
 * @module
 */
import type { Readable } from 'node:stream';
import { FormatError, parseJsonObject, UsageError } from '@latchkey/shared';
import { parse } from 'csv-parse';
import type { Item } from '../management-client.js';
import { type Defaults, isPrivateKey, REASON, type Source, toSend } from './source.js';

const MAX_RECORD_BYTES = 65_536;

type ReadCell = (cell: string) => unknown;

const readYes: ReadCell = (cell) => {
  if (/^(?:true|yes|1)$/i.test(cell)) return true;
  if (/^(?:false|no|0)$/i.test(cell)) return false;
  throw new FormatError('may_mint', 'must be true or false');
};

function readLabels(cell: string): unknown {
  if (cell.startsWith('{')) return parseJsonObject(Buffer.from(cell), 'labels');
  const entries = cell.split(';').map((text) => {
    const at = text.indexOf('=');
    if (at < 1) throw new FormatError('labels', 'must look like site=berlin;floor=2');
    return [text.slice(0, at).trim(), text.slice(at + 1).trim()];
  });
  return Object.fromEntries(entries);
}

/** Columns by their name, and what becomes of a cell that is not empty. */
const COLUMNS: Readonly<Record<string, ReadCell>> = {
  client_id: (cell) => cell,
  public_key: (cell) => cell,
  roles: (cell) => cell.split(/[\s,;|]+/).filter((role) => role !== ''),
  labels: readLabels,
  may_mint: readYes,
  token_ttl_seconds: (cell) => (/^[0-9]{1,9}$/.test(cell) ? Number(cell) : cell),
  status: (cell) => cell,
  client_secret: (cell) => cell,
};
const ALIASES: Readonly<Record<string, string>> = {
  id: 'client_id',
  device_id: 'client_id',
  key: 'public_key',
  role: 'roles',
};
const LABEL_COLUMN = /^labels?\.(.+)$/;

interface Column {
  readonly name: string;
  readonly label: string | undefined;
}

function readHeader(cells: readonly string[]): readonly Column[] {
  const columns = cells.map((cell): Column => {
    const text = cell.trim();
    const label = LABEL_COLUMN.exec(text)?.[1];
    const name = ALIASES[text.toLowerCase()] ?? text.toLowerCase();
    if (label === undefined && name !== REASON && !Object.hasOwn(COLUMNS, name)) {
      const known = [...Object.keys(COLUMNS), 'label.<key>'].join(', ');
      throw new UsageError(`the header names an unknown column: ${text}; known: ${known}`);
    }
    return { name: label === undefined ? name : `label.${label}`, label };
  });
  const names = columns.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new UsageError(`the header names a column twice: ${twice}`);
  if (!names.includes('client_id')) throw new UsageError('the header lacks the column client_id');
  return columns;
}

/** A record as JSON; empty cells say nothing. */
function readRecord(cells: readonly string[], columns: readonly Column[]): Item {
  if (cells.length !== columns.length) {
    throw new FormatError(
      'the line',
      `has ${cells.length} cells where the header has ${columns.length}`,
    );
  }
  const item: Record<string, unknown> = {};
  const labels: Record<string, string> = {};
  for (const [index, { name, label }] of columns.entries()) {
    const cell = (cells[index] as string).trim();
    if (cell === '' || name === REASON) continue;
    if (label === undefined) item[name] = COLUMNS[name]?.(cell);
    else labels[label] = cell;
  }
  if (Object.keys(labels).length > 0) item.labels = { ...Object(item.labels), ...labels };
  return item;
}

/** A cell as CSV, in quotes where it needs them. */
export function formatCell(cell: string): string {
  return /["\r\n,;\t]|^\s|\s$/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}

/** The character between cells that the header is likely to mean. */
export function guessDelimiter(beginning: string): string {
  const header = beginning.split(/\r?\n/, 1)[0] ?? '';
  return [',', ';', '\t'].find((delimiter) => header.includes(delimiter)) ?? ',';
}

export function readCsv(
  input: Readable,
  options: { readonly size: number; readonly delimiter: string; readonly defaults: Defaults },
): Source {
  const { size, delimiter, defaults } = options;
  const parser = parse({
    bom: true,
    delimiter,
    info: true,
    max_record_size: MAX_RECORD_BYTES,
    relax_column_count: true,
    relax_quotes: true,
    skip_empty_lines: true,
  });
  // Whoever reads the lines is told; until then it must not count as an error that nobody handles.
  parser.on('error', () => undefined);
  input.on('error', (error) => parser.destroy(error));
  input.pipe(parser);
  let header: readonly string[] = [];

  /** The reason stands first, so that a line with too many cells keeps it in its column. */
  const format = (cells: readonly string[], reason: string): string => {
    const at = header.findIndex((cell) => cell.trim().toLowerCase() === REASON);
    const shown = cells.map((cell) => (isPrivateKey(cell) ? '' : cell));
    return `${[reason, ...shown.filter((_, i) => i !== at)].map(formatCell).join(delimiter)}\n`;
  };

  async function* lines(): Source['lines'] {
    let columns: readonly Column[] | undefined;
    try {
      for await (const { record, info } of parser as AsyncIterable<CsvRecord>) {
        if (columns === undefined) {
          header = record;
          columns = readHeader(record);
          continue;
        }
        const known = columns;
        yield {
          place: `line ${info.lines}`,
          read: () => toSend(readRecord(record, known), defaults),
          rejected: (reason) => format(record, reason),
        };
      }
    } catch (error) {
      const { code, message } = error as Error & { readonly code?: string };
      if (!code?.startsWith('CSV_')) throw error;
      throw new UsageError(`the file is not CSV: ${message.split('\n', 1)[0]}`);
    }
    if (columns === undefined) throw new UsageError('the file is empty: a header is expected');
  }

  return {
    lines: lines(),
    size,
    position: () => parser.info.bytes,
    rejectsExtension: '.csv',
    rejectsHeader: () => format(header, REASON),
  };
}

interface CsvRecord {
  readonly record: readonly string[];
  readonly info: { readonly lines: number };
}
