/**
 * The authority's time between two runs on one machine start: `time.json`, mode 0600.
 *
 * After another start of the machine it says nothing: what its clock shows then may be anything, and
 * the authority is asked again. Losing the file costs that question, nothing else.
 *
 * Units   milliseconds.
 * Errors  `UsageError` when others may read the file; a file that cannot be understood counts as none.
 * Source  DESIGN 7 (wrong clock); proc(5) (`boot_id`: another one at each start of the machine).
 *
 * @module
 */
import { readFile } from 'node:fs/promises';
import type { Logger } from '@latchkey/shared';
import * as v from 'valibot';
import type { AuthorityTime } from './authority-time.js';
import { readPrivateFile, stateFile, writePrivateFile } from './private-file.js';

const BOOT_ID_FILE = '/proc/sys/kernel/random/boot_id';
/** A smaller difference is not worth a write to a memory card. */
const WORTH_WRITING_MS = 2000;

const fileSchema = v.object({
  boot_id: v.string(),
  at_start_ms: v.pipe(v.number(), v.safeInteger()),
  /** What the machine's uptime was: less now means another start, whatever the id says (containers). */
  uptime_ms: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
});

function parseFile(text: string | undefined): v.InferOutput<typeof fileSchema> | undefined {
  try {
    return v.parse(fileSchema, JSON.parse(text ?? ''));
  } catch {
    return undefined;
  }
}

export interface TimeFile {
  /** Writes the time if it has changed. */
  save(): void;
  /** Resolves when what was saved is on disk. */
  written(): Promise<void>;
}

/** Restores what an earlier run learned. */
export async function keepTime(
  stateDir: string,
  time: AuthorityTime,
  logger: Logger,
): Promise<TimeFile> {
  const path = stateFile(stateDir, 'time');
  const held = parseFile(await readPrivateFile(path));
  const bootId = (await readFile(BOOT_ID_FILE, 'utf8').catch(() => '')).trim();
  let writtenMs: number | undefined;
  let lastWrite: Promise<void> = Promise.resolve();
  if (held !== undefined && bootId !== '' && held.boot_id === bootId) {
    if (held.uptime_ms <= time.uptimeMs()) {
      writtenMs = held.at_start_ms;
      time.restore(held.at_start_ms);
    }
  }
  const write = async (atStartMs: number): Promise<void> => {
    const [at_start_ms, uptime_ms] = [Math.round(atStartMs), Math.floor(time.uptimeMs())];
    try {
      await writePrivateFile(
        path,
        `${JSON.stringify({ boot_id: bootId, at_start_ms, uptime_ms })}\n`,
      );
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      logger.warn({ event: 'clock.not-kept', detail }, 'the time of the authority cannot be kept');
    }
  };
  return {
    save: () => {
      const { atStartMs } = time;
      if (bootId === '' || atStartMs === undefined) return;
      if (writtenMs !== undefined && Math.abs(atStartMs - writtenMs) < WORTH_WRITING_MS) return;
      writtenMs = atStartMs;
      lastWrite = lastWrite.then(() => write(atStartMs));
    },
    written: () => lastWrite,
  };
}
