/**
 * `latchkey <noun> list`.
 *
 * Units   none.
 * Errors  those of `openManagement` and `columns.ts`.
 * Source  STYLE 2.10.
 *
 * @module
 */
import { EXIT, type ExitCode, UsageError } from '@latchkey/shared';
import { type Command, Option } from 'commander';
import { chooseColumns, parseSort } from './columns.js';
import { type Io, printJson, printLine, printNote } from './io.js';
import { type ManagementOptions, openManagement } from './management-client.js';
import type { NounView } from './noun-view.js';
import { formatCsv, formatTable } from './table.js';

export interface ListOptions extends ManagementOptions {
  readonly json?: boolean;
  readonly csv?: boolean;
  readonly columns?: string;
  readonly sort?: string;
  readonly label?: readonly string[];
  readonly status?: string;
  readonly role?: string;
  readonly idPrefix?: string;
}

/** Options of every list about how it is shown. */
export function addListOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--columns <names>', 'show these columns, such as a,b; an unknown name lists all'),
    )
    .addOption(
      new Option('--sort <names>', 'sort by these columns; -created puts the newest first'),
    )
    .option('--csv', 'print CSV under the names of the columns')
    .option('--json', 'print JSON');
}

export async function listItems(view: NounView, options: ListOptions, io: Io): Promise<ExitCode> {
  const { columns, sort, label, status, role, idPrefix } = options;
  if (options.json && (options.csv || columns !== undefined)) {
    throw new UsageError(
      `--json has every member: leave out ${options.csv ? '--csv' : '--columns'}`,
    );
  }
  const shown = columns === undefined ? view : chooseColumns(view, columns);
  const compare = sort === undefined ? undefined : parseSort(view, sort);
  const management = await openManagement(options, io);
  const found = await management.list(view.path, { label, status, role, id_prefix: idPrefix });
  const items = compare === undefined ? found : [...found].sort(compare);
  if (options.json) printJson(io, items);
  else if (options.csv) printLine(io, formatCsv(shown, items));
  else if (items.length === 0) {
    const isFiltered = [label, status, role, idPrefix].some((filter) => filter !== undefined);
    printNote(io, isFiltered ? `there is no such ${view.noun}` : `there is no ${view.noun} yet`);
  } else printLine(io, formatTable(shown, items, io.terminalWidth));
  return EXIT.ok;
}
