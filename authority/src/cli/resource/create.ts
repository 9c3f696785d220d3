/**
 * `latchkey resource create <identifier>`.
 *
 * Units   `tokenTtl`: a duration such as 900 or 15m.
 * Errors  those of `openManagement`; `FormatError` for a duration.
 * Source  RFC 8707 2.
 *
 * @module
 */
import { EXIT, type ExitCode, parseDuration } from '@latchkey/shared';
import type { Io } from '../io.js';
import { openManagement } from '../management-client.js';
import { printItem, type ShowOptions } from '../show.js';
import { resourceView } from './view.js';

export interface CreateResourceOptions extends ShowOptions {
  readonly kind: string;
  readonly tokenTtl?: string;
}

export async function createResource(
  identifier: string,
  options: CreateResourceOptions,
  io: Io,
): Promise<ExitCode> {
  const { kind, tokenTtl } = options;
  const ttl = tokenTtl === undefined ? undefined : parseDuration(tokenTtl, '--token-ttl');
  const management = await openManagement(options, io);
  const item = await management.post(resourceView.path, {
    identifier,
    kind,
    ...(ttl !== undefined && { token_ttl_seconds: ttl }),
  });
  printItem(resourceView, item, options, io);
  return EXIT.ok;
}
