/**
 * `latchkey permission update <name>`.
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
import { permissionView } from './view.js';

export interface UpdatePermissionOptions extends ShowOptions {
  readonly scope: readonly string[];
}

export async function updatePermission(
  name: string,
  options: UpdatePermissionOptions,
  io: Io,
): Promise<ExitCode> {
  const path = itemPath(permissionView.path, name);
  const body = { scopes: options.scope };
  return changeItem(permissionView, ({ patch }) => patch(path, body), options, io);
}
