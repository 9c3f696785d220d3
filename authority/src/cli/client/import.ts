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
import { readProviderFile } from '../import/provider-source.js';
import type { Loss } from '../import/providers.js';
import { createRejectsFile, noRejectsFile, type RejectsFile } from '../import/rejects-file.js';
import { type ImportCounts, sendLines } from '../import/send-lines.js';
import type { Source } from '../import/source.js';
import { type Io, printJson, printLine, printNote } from '../io.js';
import { parseLabelOptions } from '../labels.js';
import {
  type ManagementClient,
  type ManagementOptions,
  openManagement,
} from '../management-client.js';
import { type NounView, plain } from '../noun-view.js';

export interface ImportOptions extends ManagementOptions {
  readonly format?: string;
  readonly role?: readonly string[];
  readonly label?: readonly string[];
  readonly rejects?: string;
  /** Of a service: which provider exported the file, and what its scopes are called here. */
  readonly from?: string;
  readonly roleFor?: readonly string[];
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

interface Report {
  readonly isDryRun: boolean;
  readonly rejects: string | undefined;
  readonly json: boolean;
  readonly losses: readonly Loss[];
}

function report(counts: ImportCounts, { isDryRun, rejects, json, losses }: Report, io: Io): void {
  const not_carried = losses.map(({ clientId: client_id, what, why }) => ({
    client_id,
    what,
    why,
  }));
  if (json) printJson(io, { ...counts, dry_run: isDryRun, rejects: rejects ?? null, not_carried });
  else {
    for (const { clientId, what, why } of losses) printNote(io, `${clientId}: ${what}: ${why}`);
    printLine(io, inWords(counts, isDryRun));
  }
  if (rejects === undefined) return;
  printNote(
    io,
    `refused lines and their reasons are in ${rejects}: mend them and import that file`,
  );
}

/** A source, and what of it cannot be carried. */
interface Opened {
  readonly source: Source;
  readonly losses: readonly Loss[];
}

/** Reads what tells that the file is no use, before the authority is asked for anything. */
function prepare(
  file: string,
  options: ImportOptions,
  io: Io,
): (management: ManagementClient) => Promise<Opened> {
  const { role: roles = [], label = [], format, from, roleFor = [] } = options;
  const defaults = { roles, labels: parseLabelOptions(label) };
  if (from === undefined) {
    const source = openSource(file, { format, defaults }, io);
    return async () => ({ source, losses: [] });
  }
  const open = readProviderFile(file, { from, roleFor, defaults });
  return async (management) => open((await management.list('/roles')).map(plain('name')));
}

export async function importClients(
  { noun, path }: NounView,
  file: string,
  options: ImportOptions,
  io: Io,
): Promise<ExitCode> {
  const { dryRun: isDryRun = false, json = false } = options;
  const open = prepare(file, options, io);
  const management = await openManagement(options, io);
  const { source, losses } = await open(management);
  const rejects = rejectsPath(file, options, source);
  const rejected: RejectsFile =
    rejects === undefined ? noRejectsFile : createRejectsFile(rejects, source);
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
    report(counts, { isDryRun, rejects: rejected.finish(), json, losses }, io);
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
