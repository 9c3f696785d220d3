/**
 * `latchkey secret create|list|remove` and `latchkey secret rotate start|finish|cancel`.
 *
 * Units   `expires`: a duration such as 90d.
 * Errors  those of `confirm` and `openManagement`.
 * Source  RFC 6749 2.3.1.
 *
 * @module
 */
import { EXIT, type ExitCode, parseDuration } from '@latchkey/shared';
import { changeItem } from '../change.js';
import { clientView, itemsOf } from '../client/view.js';
import { type ConfirmOptions, confirm } from '../confirm.js';
import { type Io, printJson, printLine, printNote } from '../io.js';
import { type Item, itemPath, openManagement } from '../management-client.js';
import { instant, plain } from '../noun-view.js';
import type { ShowOptions } from '../show.js';
import { formatTable } from '../table.js';
import { secretView } from './view.js';

export interface NewSecretOptions extends ShowOptions {
  readonly secretLabel?: string;
  readonly expires?: string;
}

export interface EndOptions extends ShowOptions, ConfirmOptions {}

const secretsPath = (id: string): string => `${itemPath(secretView.path, id)}/secrets`;

/** Makes a secret and prints it, the only time that anybody sees it. */
async function printNewSecret(
  path: string,
  id: string,
  options: NewSecretOptions,
  io: Io,
): Promise<ExitCode> {
  const { secretLabel, expires } = options;
  const management = await openManagement(options, io);
  const item = await management.post(path, {
    ...(secretLabel !== undefined && { label: secretLabel }),
    ...(expires !== undefined && { expires_in_seconds: parseDuration(expires, '--expires') }),
  });
  if (options.json) {
    printJson(io, item);
    return EXIT.ok;
  }
  const until = instant('expires_at')(item);
  printNote(
    io,
    `secret ${item.id} of ${id}${until === '' ? '' : ` until ${until}`}; it is shown only now:`,
  );
  printLine(io, plain('client_secret')(item));
  return EXIT.ok;
}

export async function createSecret(
  id: string,
  options: NewSecretOptions,
  io: Io,
): Promise<ExitCode> {
  return printNewSecret(secretsPath(id), id, options, io);
}

export async function startSecretRotation(
  id: string,
  options: NewSecretOptions,
  io: Io,
): Promise<ExitCode> {
  return printNewSecret(`${secretsPath(id)}/rotation/start`, id, options, io);
}

export async function listSecrets(id: string, options: ShowOptions, io: Io): Promise<ExitCode> {
  const management = await openManagement(options, io);
  const items = itemsOf(await management.get(secretsPath(id)), 'items');
  if (options.json) printJson(io, items);
  else if (items.length === 0) printNote(io, `${id} has no secret`);
  else printLine(io, formatTable(secretView, items, io.terminalWidth));
  return EXIT.ok;
}

export async function removeSecret(
  id: string,
  secret: string,
  options: EndOptions,
  io: Io,
): Promise<ExitCode> {
  await confirm(`remove the secret ${secret} of ${id}`, options, io);
  const path = itemPath(secretsPath(id), secret);
  return changeItem(clientView, async ({ remove }) => (await remove(path)) as Item, options, io);
}

const ENDED = { finish: 'end the old secret', cancel: 'end the new secret' } as const;

export async function endSecretRotation(
  ending: 'finish' | 'cancel',
  id: string,
  options: EndOptions,
  io: Io,
): Promise<ExitCode> {
  await confirm(`${ENDED[ending]} of ${id}`, options, io);
  const path = `${secretsPath(id)}/rotation/${ending}`;
  return changeItem(clientView, ({ post }) => post(path), options, io);
}
