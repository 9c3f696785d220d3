/**
 * `latchkey device import FILE` and `latchkey service import FILE`.
 *
 * Units   lines.
 * Errors  `UsageError`; those of `openManagement`. Exit code 1 when a line was refused.
 * Source  DESIGN 9 (I9, I10, I11).
 *
 * @module
 */
import { EXIT, type ExitCode, UnreachableError } from '@latchkey/shared';
import { openSource } from '../import/open-source.js';
import { startProgress } from '../import/progress.js';
import { createRejectsFile, noRejectsFile, type RejectsFile } from '../import/rejects-file.js';
import { type ImportCounts, sendLines } from '../import/send-lines.js';
import type { Source } from '../import/source.js';
import { type Io, printJson, printLine, printNote } from '../io.js';
import { parseLabelOptions } from '../labels.js';
import { type ManagementOptions, openManagement } from '../management-client.js';
import type { NounView } from '../noun-view.js';

export interface ImportOptions extends ManagementOptions {
  readonly format?: string;
  readonly role?: readonly string[];
  readonly label?: readonly string[];
  readonly rejects?: string;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

/** Refused lines that are told on stderr; the file has all. */
const TOLD = 10;

function rejectsPath(file: string, { rejects, dryRun }: ImportOptions, source: Source) {
  if (rejects !== undefined || dryRun) return rejects;
  const base = file === '-' ? 'stdin' : file.replace(/\/+$/, '').replace(/\.[a-z]+$/i, '');
  return `${base}.rejects${source.rejectsExtension}`;
}

const inWords = ({ created, unchanged, refused }: ImportCounts, isDryRun: boolean): string =>
  `${created} ${isDryRun ? 'would be registered' : 'registered'}, ${unchanged} there already, ${refused} refused`;

function report(
  counts: ImportCounts,
  { isDryRun, rejects, json }: { isDryRun: boolean; rejects: string | undefined; json: boolean },
  io: Io,
): void {
  if (json) printJson(io, { ...counts, dry_run: isDryRun, rejects: rejects ?? null });
  else printLine(io, inWords(counts, isDryRun));
  if (rejects === undefined) return;
  printNote(
    io,
    `refused lines and their reasons are in ${rejects}: mend them and import that file`,
  );
}

export async function importClients(
  { noun, path }: NounView,
  file: string,
  options: ImportOptions,
  io: Io,
): Promise<ExitCode> {
  const { role: roles = [], label = [], dryRun: isDryRun = false, json = false } = options;
  const defaults = { roles, labels: parseLabelOptions(label) };
  const source = openSource(file, { format: options.format, defaults }, io);
  const rejects = rejectsPath(file, options, source);
  const rejected: RejectsFile =
    rejects === undefined ? noRejectsFile : createRejectsFile(rejects, source);
  const management = await openManagement(options, io);
  const progress = startProgress(io, source.size);
  const first: string[] = [];
  let latest: ImportCounts = { created: 0, unchanged: 0, refused: 0 };
  try {
    const counts = await sendLines(source, {
      ...{ management, path, isDryRun },
      onRefused: (line, reason) => {
        rejected.add(line.rejected(reason));
        if (first.length < TOLD) first.push(`${line.place}: ${reason}`);
      },
      onProgress: (now) => {
        latest = now;
        progress.update(source.position(), inWords(now, isDryRun));
      },
    });
    progress.stop();
    for (const text of first) printNote(io, text);
    if (counts.refused > first.length) printNote(io, `and ${counts.refused - first.length} more`);
    report(counts, { isDryRun, rejects: rejected.finish(), json }, io);
    return counts.refused === 0 ? EXIT.ok : EXIT.failed;
  } catch (error) {
    progress.stop();
    rejected.discard();
    printNote(io, `broken off: ${inWords(latest, isDryRun)} until then`);
    if (error instanceof UnreachableError && !isDryRun) {
      printNote(io, `run it again to go on: each ${noun} that is there already is passed over`);
    }
    throw error;
  }
}
