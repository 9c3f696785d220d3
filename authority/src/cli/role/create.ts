/**
 * `latchkey role create <name>`.
 *
 * Units   none.
 * Errors  those of `openManagement`.
 * Source  DESIGN 4.
 *
 * @module
 */
import { EXIT, type ExitCode } from '@latchkey/shared';
import type { Io } from '../io.js';
import { openManagement } from '../management-client.js';
import { printItem, type ShowOptions } from '../show.js';
import { roleView } from './view.js';

export interface CreateRoleOptions extends ShowOptions {
  readonly permission: readonly string[];
}

export async function createRole(
  name: string,
  options: CreateRoleOptions,
  io: Io,
): Promise<ExitCode> {
  const management = await openManagement(options, io);
  const item = await management.post(roleView.path, { name, permissions: options.permission });
  printItem(roleView, item, options, io);
  return EXIT.ok;
}
