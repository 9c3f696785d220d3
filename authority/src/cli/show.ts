/**
 * `latchkey <noun> show <id>`.
 *
 * Units   none.
 * Errors  those of `openManagement`.
 * Source  STYLE 2.10.
 *
 * @module
 */
import { EXIT, type ExitCode } from '@latchkey/shared';
import { type Io, printJson, printLine } from './io.js';
import {
  type Item,
  itemPath,
  type ManagementOptions,
  openManagement,
} from './management-client.js';
import { formatItem, type NounView } from './noun-view.js';

export interface ShowOptions extends ManagementOptions {
  readonly json?: boolean;
}

/** Prints one item in the form that was asked for. */
export function printItem(view: NounView, item: Item, options: ShowOptions, io: Io): void {
  if (options.json) printJson(io, item);
  else printLine(io, formatItem(view, item));
}

export async function showItem(
  view: NounView,
  id: string,
  options: ShowOptions,
  io: Io,
): Promise<ExitCode> {
  const management = await openManagement(options, io);
  printItem(view, await management.get(itemPath(view.path, id)), options, io);
  return EXIT.ok;
}
