/**
 * Reads what a command is given in a file or on stdin: a public key, or a token.
 *
 * Units   sizes in bytes.
 * Errors  `UsageError` for a file that cannot be read, `FormatError` for a key that cannot be used.
 * Source  STYLE 2.10.
 *
 * @module
 */
import { readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { type PublicKey, parsePublicKey, UsageError } from '@latchkey/shared';
import type { Io } from './io.js';

const MAX_STDIN_BYTES = 65_536;

async function readStream(stream: Readable): Promise<string> {
  let text = '';
  for await (const chunk of stream) {
    text += String(chunk);
    if (text.length > MAX_STDIN_BYTES) break;
  }
  return text;
}

/** Text of a file, or of stdin for `-`. `option` names it in messages. */
export async function readInput(source: string, option: string, io: Io): Promise<string> {
  if (source === '-') return readStream(io.stdin);
  try {
    return readFileSync(source, 'utf8');
  } catch (error) {
    throw new UsageError(
      `${option}: cannot read ${source} (${(error as NodeJS.ErrnoException).code})`,
    );
  }
}

/** A public key in any form. */
export async function readPublicKey(source: string, io: Io): Promise<PublicKey> {
  return parsePublicKey(await readInput(source, '--public-key', io), '--public-key');
}
