/**
 * `latchkey <noun> list`.
 *
 * Units   none.
 * Errors  those of `openManagement`.
 * Source  STYLE 2.10.
 *
 * @module
 */
import { EXIT, type ExitCode } from '@latchkey/shared';
import { type Io, printJson, printLine, printNote } from './io.js';
import { type ManagementOptions, openManagement } from './management-client.js';
import { formatTable, type NounView } from './noun-view.js';

export interface ListOptions extends ManagementOptions {
  readonly json?: boolean;
  readonly label?: readonly string[];
  readonly status?: string;
  readonly role?: string;
  readonly idPrefix?: string;
}

export async function listItems(view: NounView, options: ListOptions, io: Io): Promise<ExitCode> {
  const management = await openManagement(options, io);
  const { label, status, role, idPrefix } = options;
  const items = await management.list(view.path, { label, status, role, id_prefix: idPrefix });
  if (options.json) printJson(io, items);
  else if (items.length === 0) {
    const isFiltered = [label, status, role, idPrefix].some((filter) => filter !== undefined);
    printNote(io, isFiltered ? `there is no such ${view.noun}` : `there is no ${view.noun} yet`);
  } else printLine(io, formatTable(view, items));
  return EXIT.ok;
}
