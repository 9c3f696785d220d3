/**
 * `latchkey role update <name>`.
 *
 * Units   none.
 * Errors  those of `openManagement`.
 * Source  DESIGN 4.
 *
 * @module
 */
import type { ExitCode } from '@latchkey/shared';
import { changeItem } from '../change.js';
import type { Io } from '../io.js';
import { itemPath } from '../management-client.js';
import type { ShowOptions } from '../show.js';
import { roleView } from './view.js';

export interface UpdateRoleOptions extends ShowOptions {
  readonly permission: readonly string[];
}

export async function updateRole(
  name: string,
  options: UpdateRoleOptions,
  io: Io,
): Promise<ExitCode> {
  const path = itemPath(roleView.path, name);
  const body = { permissions: options.permission };
  return changeItem(roleView, ({ patch }) => patch(path, body), options, io);
}
