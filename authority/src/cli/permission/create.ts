/**
 * `latchkey permission create <name>`.
 *
 * Units   none.
 * Errors  those of `openManagement`.
 * Source  DESIGN 4 (Topic scopes).
 *
 * @module
 */
import { EXIT, type ExitCode } from '@latchkey/shared';
import type { Io } from '../io.js';
import { openManagement } from '../management-client.js';
import { printItem, type ShowOptions } from '../show.js';
import { permissionView } from './view.js';

export interface CreatePermissionOptions extends ShowOptions {
  readonly resource: string;
  readonly scope?: readonly string[];
}

export async function createPermission(
  name: string,
  options: CreatePermissionOptions,
  io: Io,
): Promise<ExitCode> {
  const { resource, scope: scopes = [] } = options;
  const management = await openManagement(options, io);
  const item = await management.post(permissionView.path, { name, resource, scopes });
  printItem(permissionView, item, options, io);
  return EXIT.ok;
}
