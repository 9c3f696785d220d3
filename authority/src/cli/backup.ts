/**
 * `latchkey backup` and `latchkey restore`.
 *
 * Units   bytes, shown in MiB.
 * Errors  those of `makeBackup` and `restoreBackup`.
 * Source  STYLE 2.10.
 *
 * @module
 */
import { EXIT, type ExitCode, formatInstant } from '@latchkey/shared';
import { makeBackup } from '../backup/backup.js';
import { readBackup } from '../backup/backup-file.js';
import { restoreBackup } from '../backup/restore.js';
import { requireDataDir } from './data-dir-option.js';
import { type Io, printJson, printLine, printNote } from './io.js';

export interface BackupOptions {
  readonly dataDir?: string;
  readonly json?: boolean;
}

export interface RestoreOptions extends BackupOptions {
  readonly dryRun?: boolean;
}

const inMib = (bytes: number): string => (bytes / 1_048_576).toFixed(1);

export async function backup(file: string, options: BackupOptions, io: Io): Promise<ExitCode> {
  const dataDir = requireDataDir(options.dataDir);
  printNote(io, 'copying the registry and checking the copy');
  const { bytes, lastSequence, hasPlainKeys } = await makeBackup({
    dataDir,
    file,
    clock: io.clock,
  });
  if (options.json) {
    const summary = { file, bytes, last_audit_event: lastSequence, has_plain_keys: hasPlainKeys };
    printJson(io, summary);
  } else {
    printLine(io, `made ${file}: ${inMib(bytes)} MiB, audit events to ${lastSequence}`);
  }
  if (hasPlainKeys) {
    printNote(io, 'who reads it can sign tokens: private signing keys in it are not encrypted');
  }
  printNote(io, 'it holds the operator key when that is in the data directory: keep it as secret');
  return EXIT.ok;
}

export async function restore(file: string, options: RestoreOptions, io: Io): Promise<ExitCode> {
  if (options.dryRun) {
    const { info } = readBackup(file);
    printLine(
      io,
      `${file} is a whole backup of ${info.issuer}, made at ${formatInstant(info.madeAt)}`,
    );
    return EXIT.ok;
  }
  const dataDir = requireDataDir(options.dataDir);
  printNote(io, 'checking the backup');
  const { issuer, madeAt } = await restoreBackup({ file, dataDir, clock: io.clock });
  printLine(io, `made ${dataDir} for ${issuer} as it was at ${formatInstant(madeAt)}`);
  printNote(io, 'what was revoked, suspended or registered since then must be done again');
  printNote(io, `next: latchkey validate --data-dir ${dataDir}`);
  return EXIT.ok;
}
