/**
 * `latchkey device update <id>` and `latchkey service update <id>`.
 *
 * Units   `tokenTtl`: a duration such as 15m, or `none`.
 * Errors  those of `openManagement`; `UsageError` when there is nothing to change.
 * Source  DESIGN 4; RFC 9110 13.1.1 (If-Match).
 *
 * @module
 */
import { EXIT, type ExitCode, UsageError } from '@latchkey/shared';
import { parseOptionalDuration } from '../durations.js';
import type { Io } from '../io.js';
import { parseLabelOption, parseLabelOptions } from '../labels.js';
import {
  type Item,
  itemPath,
  type ManagementClient,
  openManagement,
} from '../management-client.js';
import type { NounView } from '../noun-view.js';
import { printItem, type ShowOptions } from '../show.js';

export interface UpdateClientOptions extends ShowOptions {
  readonly addRole?: readonly string[];
  readonly removeRole?: readonly string[];
  readonly label?: readonly string[];
  readonly removeLabel?: readonly string[];
  readonly mayMint?: boolean;
  readonly tokenTtl?: string;
  readonly limitToLabel?: string;
}

function labelsPatch({ label = [], removeLabel = [] }: UpdateClientOptions): Item {
  const set = parseLabelOptions(label);
  const removed = Object.fromEntries(removeLabel.map((key) => [key, null]));
  const labels = { ...set, ...removed };
  return Object.keys(labels).length === 0 ? {} : { labels };
}

function settingsPatch({ mayMint, tokenTtl, limitToLabel: limit }: UpdateClientOptions): Item {
  const ttl = parseOptionalDuration(tokenTtl, '--token-ttl');
  return {
    ...(mayMint !== undefined && { may_mint: mayMint }),
    ...(ttl !== undefined && { token_ttl_seconds: ttl }),
    ...(limit !== undefined && {
      limited_to_label: limit === 'none' ? null : parseLabelOption(limit, '--limit-to-label'),
    }),
  };
}

/** The roles afterwards, and the version that they were made from, so that none of another is lost. */
async function rolesPatch(
  path: string,
  { addRole = [], removeRole = [] }: UpdateClientOptions,
  management: ManagementClient,
): Promise<{ readonly roles?: readonly string[]; readonly version?: number }> {
  if (addRole.length + removeRole.length === 0) return {};
  const client = await management.get(path);
  const roles = new Set([...(client.roles as readonly string[]), ...addRole]);
  for (const role of removeRole) {
    if (!roles.delete(role)) throw new UsageError(`--remove-role: it does not have ${role}`);
  }
  return { roles: [...roles], version: Number(client.version) };
}

export async function updateClient(
  view: NounView,
  id: string,
  options: UpdateClientOptions,
  io: Io,
): Promise<ExitCode> {
  const path = itemPath(view.path, id);
  const settings = { ...labelsPatch(options), ...settingsPatch(options) };
  const management = await openManagement(options, io);
  const { version, ...roles } = await rolesPatch(path, options, management);
  const body = { ...settings, ...roles };
  if (Object.keys(body).length === 0) throw new UsageError('say what to change; see --help');
  printItem(view, await management.patch(path, body, version), options, io);
  return EXIT.ok;
}
