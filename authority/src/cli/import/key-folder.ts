/**
 * A folder of public keys, one a file, named after the client: `t-42.pub`, `t-43.pem`, `t-44.jwk`.
 *
 * Units   files; sizes in bytes.
 * Errors  `UsageError` for a folder that cannot be read.
 * Source  none.
 *
 * @module
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { FormatError, UsageError } from '@latchkey/shared';
import { type Defaults, isPrivateKey, rejectedObject, type Source, toSend } from './source.js';

const EXTENSION = /\.(?:pub|pem|jwk|json|key|hex|b64|txt)$/i;
const MAX_FILE_BYTES = 8192;

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => !entry.isDirectory() && !entry.name.startsWith('.'))
      .map(({ name }) => name)
      .sort();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new UsageError(`cannot read the folder ${folder} (${code})`);
  }
}

function readKeyFile(path: string): string {
  try {
    if (statSync(path).size <= MAX_FILE_BYTES) return readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new FormatError('the file', `cannot be read (${code})`);
  }
  throw new FormatError('the file', `must not exceed ${MAX_FILE_BYTES} bytes`);
}

export function readKeyFolder(folder: string, defaults: Defaults): Source {
  const names = namesIn(folder);
  let position = 0;

  async function* lines(): Source['lines'] {
    for (const name of names) {
      position += 1;
      const path = join(folder, name);
      const client_id = name.replace(EXTENSION, '');
      yield {
        place: name,
        read: () => {
          const text = readKeyFile(path).trim();
          // In a line it may be absent; a file without a key is one that was not written.
          if (text === '') throw new FormatError('public_key', 'is missing');
          return toSend({ client_id, public_key: text }, defaults);
        },
        rejected: (reason) => {
          let text = '';
          try {
            text = readKeyFile(path).trim();
          } catch {
            // The reason says so.
          }
          return rejectedObject({ client_id, public_key: isPrivateKey(text) ? '' : text }, reason);
        },
      };
    }
  }

  return {
    lines: lines(),
    size: names.length,
    position: () => position,
    rejectsExtension: '.jsonl',
    rejectsHeader: () => '',
  };
}
