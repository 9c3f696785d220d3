/**
 * `latchkey resource update <identifier>`, and the settings that `create` takes as well.
 *
 * Units   `tokenTtl`: a duration such as 900 or 15m.
 * Errors  those of `openManagement`; `FormatError` for a duration.
 * Source  RFC 8707 2.
 *
 * @module
 */
import { type ExitCode, parseDuration, UsageError } from '@latchkey/shared';
import { changeItem } from '../change.js';
import type { Io } from '../io.js';
import { type Item, itemPath } from '../management-client.js';
import type { ShowOptions } from '../show.js';
import { resourceView } from './view.js';

export interface UpdateResourceOptions extends ShowOptions {
  readonly tokenTtl?: string;
  readonly signingAlg?: string;
  readonly narrowsScope?: boolean;
  readonly legacyClaims?: boolean;
}

/** Members for the API of the options that were given. */
export function resourceSettings(options: UpdateResourceOptions): Item {
  const { tokenTtl, signingAlg, narrowsScope, legacyClaims } = options;
  return {
    ...(tokenTtl !== undefined && { token_ttl_seconds: parseDuration(tokenTtl, '--token-ttl') }),
    ...(signingAlg !== undefined && { signing_alg: signingAlg }),
    ...(narrowsScope !== undefined && { narrows_scope: narrowsScope }),
    ...(legacyClaims !== undefined && { has_legacy_claims: legacyClaims }),
  };
}

export async function updateResource(
  identifier: string,
  options: UpdateResourceOptions,
  io: Io,
): Promise<ExitCode> {
  const body = resourceSettings(options);
  if (Object.keys(body).length === 0) throw new UsageError('say what to change; see --help');
  const path = itemPath(resourceView.path, identifier);
  return changeItem(resourceView, ({ patch }) => patch(path, body), options, io);
}
