/**
 * Commands that send one request and show what came of it.
 *
 * Units   none.
 * Errors  those of `openManagement`.
 * Source  STYLE 2.10.
 *
 * @module
 */
import { EXIT, type ExitCode } from '@latchkey/shared';
import type { Io } from './io.js';
import { type Item, type ManagementClient, openManagement } from './management-client.js';
import type { NounView } from './noun-view.js';
import { printItem, type ShowOptions } from './show.js';

/** Runs the request and prints the item that it answers with. */
export async function changeItem(
  view: NounView,
  request: (management: ManagementClient) => Promise<Item>,
  options: ShowOptions,
  io: Io,
): Promise<ExitCode> {
  const management = await openManagement(options, io);
  printItem(view, await request(management), options, io);
  return EXIT.ok;
}
