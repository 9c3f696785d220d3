/**
 * Finds out in which format a fleet is written down, and opens it.
 *
 * Units   bytes.
 * Errors  `UsageError`.
 * Source  none.
 *
 * @module
 */
import { closeSync, createReadStream, openSync, readSync, type Stats, statSync } from 'node:fs';
import { UsageError } from '@latchkey/shared';
import type { Io } from '../io.js';
import { guessDelimiter, readCsv } from './csv.js';
import { readJsonLines } from './json-lines.js';
import { readKeyFolder } from './key-folder.js';
import type { Defaults, Source } from './source.js';

export const FORMATS = ['csv', 'jsonl'] as const;
export type Format = (typeof FORMATS)[number];

const BEGINNING_BYTES = 4096;

function stat(file: string): Stats {
  try {
    return statSync(file);
  } catch (error) {
    throw new UsageError(`cannot read ${file} (${(error as NodeJS.ErrnoException).code})`);
  }
}

function beginningOf(file: string): string {
  const fd = openSync(file, 'r');
  try {
    const bytes = Buffer.alloc(BEGINNING_BYTES);
    return bytes.subarray(0, readSync(fd, bytes)).toString('utf8');
  } finally {
    closeSync(fd);
  }
}

function formatOf(file: string, given: string | undefined): Format {
  if (given !== undefined) {
    const format = FORMATS.find((one) => one === given);
    if (format !== undefined) return format;
    throw new UsageError(`--format must be one of ${FORMATS.join(', ')}`);
  }
  if (/\.(?:csv|tsv)$/i.test(file)) return 'csv';
  if (/\.(?:jsonl|ndjson|json)$/i.test(file)) return 'jsonl';
  throw new UsageError(`in which format is ${file}? give --format csv or --format jsonl`);
}

/** `file`: a folder of public keys, a file, or `-` for stdin. */
export function openSource(
  file: string,
  options: { readonly format?: string | undefined; readonly defaults: Defaults },
  io: Io,
): Source {
  const { format: given, defaults } = options;
  if (file === '-') {
    const format = formatOf('what comes on stdin', given);
    const rest = { size: 0, defaults };
    return format === 'csv'
      ? readCsv(io.stdin, { ...rest, delimiter: ',' })
      : readJsonLines(io.stdin, rest);
  }
  const stats = stat(file);
  if (stats.isDirectory()) return readKeyFolder(file, defaults);
  const format = formatOf(file, given);
  const input = createReadStream(file);
  const rest = { size: stats.size, defaults };
  if (format === 'jsonl') return readJsonLines(input, rest);
  return readCsv(input, { ...rest, delimiter: guessDelimiter(beginningOf(file)) });
}
