/**
 * Files that hold a private key, or that must be whole after a power cut.
 *
 * Units   sizes in bytes, POSIX modes.
 * Errors  `ConfigError` for a file that others may read, that is missing or too large.
 * Source  fsync(2), rename(2).
 *
 * @module
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { ConfigError } from '@latchkey/shared';

const MAX_BYTES = 65_536;

/** Makes a created or renamed entry of a directory durable. */
export function syncDirectory(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Writes a file of mode 0600 as a whole or not at all. */
export function writePrivateFile(path: string, text: string): void {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  const fd = openSync(temporary, 'wx', 0o600);
  try {
    writeSync(fd, text);
    fsyncSync(fd);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  } finally {
    closeSync(fd);
  }
  syncDirectory(dirname(path));
}

function openOrExplain(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const message = code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`;
    throw new ConfigError(path, [{ path: '', message }]);
  }
}

/** Reads a file of settings. */
export function readSmallFile(path: string): string {
  return readBounded(path, false).toString('utf8');
}

/** Reads a file that holds a secret; refuses it when its group or others may read it. */
export function readPrivateFile(path: string): string {
  return readPrivateBytes(path).toString('utf8');
}

/** The same for a secret that is not text. */
export function readPrivateBytes(path: string): Buffer {
  return readBounded(path, true);
}

function readBounded(path: string, isSecret: boolean): Buffer {
  const fd = openOrExplain(path);
  try {
    const { size, mode } = fstatSync(fd);
    const problem =
      isSecret && (mode & 0o077) !== 0
        ? `can be read by others (mode ${(mode & 0o777).toString(8).padStart(4, '0')}); run: chmod 600 ${path}`
        : size > MAX_BYTES && `is larger than ${MAX_BYTES} bytes`;
    if (problem) throw new ConfigError(path, [{ path: '', message: problem }]);
    return readFileSync(fd);
  } finally {
    closeSync(fd);
  }
}
