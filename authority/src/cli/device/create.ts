/**
 * `latchkey device create <id>`.
 *
 * Units   sizes in bytes.
 * Errors  those of `openManagement`; `FormatError` for a public key that cannot be used.
 * Source  DESIGN 4.
 *
 * @module
 */
import { readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { EXIT, type ExitCode, type PublicKey, parsePublicKey, UsageError } from '@latchkey/shared';
import { type Io, printNote } from '../io.js';
import { parseLabelOptions } from '../labels.js';
import { openManagement } from '../management-client.js';
import { printItem, type ShowOptions } from '../show.js';
import { deviceView } from './view.js';

export interface CreateDeviceOptions extends ShowOptions {
  /** A file, or `-` for stdin. */
  readonly publicKey?: string;
  readonly role?: readonly string[];
  readonly label?: readonly string[];
}

const MAX_STDIN_BYTES = 65_536;

async function readStream(stream: Readable): Promise<string> {
  let text = '';
  for await (const chunk of stream) {
    text += String(chunk);
    if (text.length > MAX_STDIN_BYTES) break;
  }
  return text;
}

function readFile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new UsageError(
      `--public-key: cannot read ${path} (${(error as NodeJS.ErrnoException).code})`,
    );
  }
}

async function readPublicKey(source: string, io: Io): Promise<PublicKey> {
  const text = source === '-' ? await readStream(io.stdin) : readFile(source);
  return parsePublicKey(text, '--public-key');
}

export async function createDevice(
  id: string,
  options: CreateDeviceOptions,
  io: Io,
): Promise<ExitCode> {
  const { publicKey: source, role: roles = [], label = [] } = options;
  const labels = parseLabelOptions(label);
  const key = source === undefined ? undefined : await readPublicKey(source, io);
  const management = await openManagement(options, io);
  const item = await management.create(deviceView.path, {
    client_id: id,
    roles,
    labels,
    ...(key && { public_key: key.jwk }),
  });
  printItem(deviceView, item, options, io);
  if (key === undefined) {
    printNote(io, `${id} has no key yet: latchkey enrollment create --client-id ${id}`);
  }
  return EXIT.ok;
}
