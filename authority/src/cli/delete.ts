/**
 * `latchkey <noun> delete <id>`.
 *
 * Units   none.
 * Errors  those of `confirm` and `openManagement`.
 * Source  STYLE 2.10.
 *
 * @module
 */
import { EXIT, type ExitCode } from '@latchkey/shared';
import { type ConfirmOptions, confirm } from './confirm.js';
import { type Io, printNote } from './io.js';
import { itemPath, type ManagementOptions, openManagement } from './management-client.js';
import type { NounView } from './noun-view.js';

export interface DeleteOptions extends ManagementOptions, ConfirmOptions {}

export async function deleteItem(
  view: NounView,
  id: string,
  options: DeleteOptions,
  io: Io,
): Promise<ExitCode> {
  await confirm(`delete the ${view.noun} ${id}`, options, io);
  const management = await openManagement(options, io);
  await management.remove(itemPath(view.path, id));
  printNote(io, `${view.noun} ${id} is deleted`);
  return EXIT.ok;
}
