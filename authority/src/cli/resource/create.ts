/**
 * `latchkey resource create <identifier>`.
 *
 * Units   `tokenTtl`: a duration such as 900 or 15m.
 * Errors  those of `openManagement`; `FormatError` for a duration.
 * Source  RFC 8707 2.
 *
 * @module
 */
import { EXIT, type ExitCode } from '@latchkey/shared';
import type { Io } from '../io.js';
import { openManagement } from '../management-client.js';
import { printItem } from '../show.js';
import { resourceSettings, type UpdateResourceOptions } from './update.js';
import { resourceView } from './view.js';

export interface CreateResourceOptions extends UpdateResourceOptions {
  readonly kind: string;
}

export async function createResource(
  identifier: string,
  options: CreateResourceOptions,
  io: Io,
): Promise<ExitCode> {
  const { kind } = options;
  const settings = resourceSettings(options);
  const management = await openManagement(options, io);
  const item = await management.post(resourceView.path, {
    identifier,
    kind,
    ...settings,
  });
  printItem(resourceView, item, options, io);
  return EXIT.ok;
}
