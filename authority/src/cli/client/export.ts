/**
 * `latchkey device export` and `latchkey service export`: everything but secrets, as `import` reads it.
 *
 * Units   none.
 * Errors  those of `openManagement`; `UsageError` for a format that is not known.
 * Source  none.
 *
 * @module
 */
import { once } from 'node:events';
import { EXIT, type ExitCode, UsageError } from '@latchkey/shared';
import { formatCell } from '../import/csv.js';
import { FORMATS } from '../import/open-source.js';
import { type Io, printNote } from '../io.js';
import type { ListOptions } from '../list.js';
import { type Item, openManagement } from '../management-client.js';
import type { NounView } from '../noun-view.js';
import { itemsOf } from './view.js';

export interface ExportOptions extends ListOptions {
  readonly format: string;
}

const CSV_COLUMNS = [
  'client_id',
  'public_key',
  'roles',
  'labels',
  'may_mint',
  'token_ttl_seconds',
  'status',
] as const;

const xOf = (key: Item): string => String((key.public_key as Item | undefined)?.x ?? '');

/** Whether there is no more to say of a key than its bytes. */
const isPlain = ({ label, not_before, expires_at }: Item): boolean =>
  label === '' && not_before === null && expires_at === null;

function keysToExport(keys: readonly Item[]): Item {
  const [first] = keys;
  if (first === undefined) return {};
  if (keys.length === 1 && isPlain(first)) return { public_key: xOf(first) };
  return {
    keys: keys.map((key) => ({
      public_key: xOf(key),
      ...{ label: key.label, not_before: key.not_before, expires_at: key.expires_at },
    })),
  };
}

/** A client as a line of an import. */
function toLine(item: Item): Item {
  return {
    client_id: item.client_id,
    ...keysToExport(itemsOf(item, 'keys')),
    roles: item.roles,
    labels: item.labels,
    may_mint: item.may_mint,
    ...(item.token_ttl_seconds !== null && { token_ttl_seconds: item.token_ttl_seconds }),
    status: item.status,
  };
}

function toCsv(line: Item): string {
  const cells = CSV_COLUMNS.map((name) => {
    const value = line[name] ?? '';
    if (name === 'roles') return (value as readonly string[]).join(' ');
    return name === 'labels' ? JSON.stringify(value) : String(value);
  });
  return cells.map(formatCell).join(',');
}

export async function exportClients(
  { noun, path }: NounView,
  options: ExportOptions,
  io: Io,
): Promise<ExitCode> {
  const { format, label, status, role, idPrefix } = options;
  if (!FORMATS.some((one) => one === format)) {
    throw new UsageError(`--format must be one of ${FORMATS.join(', ')}`);
  }
  const management = await openManagement(options, io);
  let left = 0;
  const write = async (text: string) => {
    // A fleet does not fit into memory while a slow reader takes its time.
    if (text !== '' && !io.stdout.write(text)) await once(io.stdout, 'drain');
  };
  if (format === 'csv') await write(`${CSV_COLUMNS.join(',')}\n`);
  for await (const items of management.pages(path, { label, status, role, id_prefix: idPrefix })) {
    const lines = items.map(toLine);
    if (format === 'csv') left += lines.filter((line) => line.keys !== undefined).length;
    const texts = lines.map((line) => (format === 'csv' ? toCsv(line) : JSON.stringify(line)));
    await write(texts.map((text) => `${text}\n`).join(''));
  }
  if (left === 0) return EXIT.ok;
  printNote(
    io,
    `the keys of ${left} ${noun}s are left out: several, or with a label or times, which only --format jsonl can say`,
  );
  return EXIT.failed;
}
