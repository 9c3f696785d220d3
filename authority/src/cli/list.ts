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
}

export async function listItems(view: NounView, options: ListOptions, io: Io): Promise<ExitCode> {
  const management = await openManagement(options, io);
  const items = await management.list(view.path);
  if (options.json) printJson(io, items);
  else if (items.length === 0) printNote(io, `there is no ${view.noun} yet`);
  else printLine(io, formatTable(view, items));
  return EXIT.ok;
}
