/**
 * `latchkey device create <id>` and `latchkey service create <id>`.
 *
 * Units   `tokenTtl`: a duration such as 15m.
 * Errors  those of `openManagement`; `FormatError` for a public key that cannot be used.
 * Source  DESIGN 4.
 *
 * @module
 */
import { EXIT, type ExitCode, parseDuration } from '@latchkey/shared';
import { readPublicKey } from '../input.js';
import { type Io, printNote } from '../io.js';
import { parseLabelOption, parseLabelOptions } from '../labels.js';
import { openManagement } from '../management-client.js';
import type { NounView } from '../noun-view.js';
import { printItem, type ShowOptions } from '../show.js';

export interface CreateClientOptions extends ShowOptions {
  /** A file, or `-` for stdin. */
  readonly publicKey?: string;
  readonly role?: readonly string[];
  readonly label?: readonly string[];
  readonly mayMint?: boolean;
  readonly tokenTtl?: string;
  readonly limitToLabel?: string;
}

function noteNextStep({ noun }: NounView, id: string, io: Io): void {
  const next =
    noun === 'device'
      ? `latchkey enrollment create --client-id ${id}`
      : `latchkey key add ${id} --public-key FILE, or latchkey secret create ${id}`;
  printNote(io, `${id} has no key yet: ${next}`);
}

export async function createClient(
  view: NounView,
  id: string,
  options: CreateClientOptions,
  io: Io,
): Promise<ExitCode> {
  const { publicKey: source, role: roles = [], label = [], mayMint, tokenTtl } = options;
  const labels = parseLabelOptions(label);
  const limit = options.limitToLabel;
  const key = source === undefined ? undefined : await readPublicKey(source, io);
  const body = {
    ...{ client_id: id, roles, labels },
    ...(key && { public_key: key.jwk }),
    ...(mayMint && { may_mint: true }),
    ...(tokenTtl !== undefined && { token_ttl_seconds: parseDuration(tokenTtl, '--token-ttl') }),
    ...(limit !== undefined && {
      limited_to_label: parseLabelOption(limit, '--limit-to-label'),
    }),
  };
  const management = await openManagement(options, io);
  printItem(view, await management.post(view.path, body), options, io);
  if (key === undefined) noteNextStep(view, id, io);
  return EXIT.ok;
}
