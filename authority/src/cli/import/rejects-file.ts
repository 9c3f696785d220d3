/**
 * The file of refused lines: in the format of the import and with a reason each, to be mended and
 * imported again. It appears when the import is through, so that a run that was killed leaves none.
 *
 * Units   file mode.
 * Errors  `UsageError` when the file exists: somebody may be mending it.
 * Source  none.
 *
 * @module
 */
import { closeSync, existsSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { UsageError } from '@latchkey/shared';
import type { Source } from './source.js';

/** It may hold a secret that a service brings along. */
const MODE = 0o600;

export interface RejectsFile {
  add(text: string): void;
  /** Puts the file in place, if there is anything in it; returns its path then. */
  finish(): string | undefined;
  /** Leaves no file. */
  discard(): void;
}

export function createRejectsFile(
  path: string,
  source: Pick<Source, 'rejectsHeader'>,
): RejectsFile {
  if (existsSync(path)) {
    throw new UsageError(
      `${path} is there already: import or remove it, or name another file with --rejects`,
    );
  }
  const partial = `${path}.partial`;
  let fd: number | undefined;
  const close = () => {
    if (fd !== undefined) closeSync(fd);
  };
  return {
    add: (text) => {
      if (fd === undefined) {
        fd = openSync(partial, 'w', MODE);
        writeSync(fd, source.rejectsHeader());
      }
      writeSync(fd, text);
    },
    finish: () => {
      close();
      if (fd === undefined) return undefined;
      renameSync(partial, path);
      return path;
    },
    discard: () => {
      close();
      rmSync(partial, { force: true });
    },
  };
}

/** Keeps nothing. */
export const noRejectsFile: RejectsFile = {
  add: () => undefined,
  finish: () => undefined,
  discard: () => undefined,
};
