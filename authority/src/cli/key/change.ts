/**
 * `latchkey key add|list|remove` and `latchkey key rotate start|finish|cancel`.
 *
 * Units   `expires`, `notBefore`: durations from now, such as 30d.
 * Errors  those of `confirm` and `openManagement`; `FormatError` for a key that cannot be used.
 * Source  DESIGN 5 and 9 (I9).
 *
 * @module
 */
import { EXIT, type ExitCode } from '@latchkey/shared';
import { changeItem } from '../change.js';
import { clientView, itemsOf } from '../client/view.js';
import { type ConfirmOptions, confirm } from '../confirm.js';
import { parseInstantFromNow } from '../durations.js';
import { readPublicKey } from '../input.js';
import { type Io, printJson, printLine, printNote } from '../io.js';
import { type Item, itemPath, openManagement } from '../management-client.js';
import type { ShowOptions } from '../show.js';
import { formatTable } from '../table.js';
import { keyView } from './view.js';

export interface NewKeyOptions extends ShowOptions {
  /** A file, or `-` for stdin. */
  readonly publicKey: string;
  readonly keyLabel?: string;
  readonly notBefore?: string;
  readonly expires?: string;
}

export interface StartRotationOptions extends NewKeyOptions {
  readonly oldKid?: string;
}

export interface EndOptions extends ShowOptions, ConfirmOptions {}

export interface RemoveKeyOptions extends EndOptions {
  readonly force?: boolean;
}

const keysPath = (id: string): string => `${itemPath(keyView.path, id)}/keys`;

async function readNewKey(options: NewKeyOptions, io: Io): Promise<Item> {
  const { publicKey, keyLabel, notBefore, expires } = options;
  const { jwk } = await readPublicKey(publicKey, io);
  const from = parseInstantFromNow(notBefore, '--not-before', io);
  const until = parseInstantFromNow(expires, '--expires', io);
  return {
    public_key: jwk,
    ...(keyLabel !== undefined && { label: keyLabel }),
    ...(from !== undefined && { not_before: from }),
    ...(until !== undefined && { expires_at: until }),
  };
}

export async function addKey(id: string, options: NewKeyOptions, io: Io): Promise<ExitCode> {
  const body = await readNewKey(options, io);
  return changeItem(clientView, ({ post }) => post(keysPath(id), body), options, io);
}

export async function listKeys(id: string, options: ShowOptions, io: Io): Promise<ExitCode> {
  const management = await openManagement(options, io);
  const items = itemsOf(await management.get(keysPath(id)), 'items');
  if (options.json) printJson(io, items);
  else if (items.length === 0) printNote(io, `${id} has no key yet`);
  else printLine(io, formatTable(keyView, items, io.terminalWidth));
  return EXIT.ok;
}

export async function removeKey(
  id: string,
  kid: string,
  options: RemoveKeyOptions,
  io: Io,
): Promise<ExitCode> {
  await confirm(`remove the key ${kid} of ${id}`, options, io);
  const query = options.force ? { force: 'true' } : {};
  const path = itemPath(keysPath(id), kid);
  return changeItem(
    clientView,
    async ({ remove }) => (await remove(path, query)) as Item,
    options,
    io,
  );
}

export async function startKeyRotation(
  id: string,
  options: StartRotationOptions,
  io: Io,
): Promise<ExitCode> {
  const { oldKid } = options;
  const body = { ...(await readNewKey(options, io)), ...(oldKid && { old_kid: oldKid }) };
  const path = `${keysPath(id)}/rotation/start`;
  return changeItem(clientView, ({ post }) => post(path, body), options, io);
}

const ENDED = { finish: 'end the old key', cancel: 'end the new key' } as const;

export async function endKeyRotation(
  ending: 'finish' | 'cancel',
  id: string,
  options: EndOptions,
  io: Io,
): Promise<ExitCode> {
  await confirm(`${ENDED[ending]} of ${id}`, options, io);
  const path = `${keysPath(id)}/rotation/${ending}`;
  return changeItem(clientView, ({ post }) => post(path), options, io);
}
