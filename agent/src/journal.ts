/**
 * The log as journald understands it: each line begins with its priority.
 *
 * Units   priorities of syslog, 3 (error) to 7 (debug).
 * Errors  none.
 * Source  sd-daemon(3) (`<3>`); systemd.exec(5), `JOURNAL_STREAM`.
 *
 * @module
 */
import { fstatSync } from 'node:fs';

/** Whether what is written to the descriptor goes to the journal, and not through a pipe or to a file. */
export function isJournal(descriptor: number, journalStream: string | undefined): boolean {
  if (journalStream === undefined) return false;
  try {
    const { dev, ino } = fstatSync(descriptor, { bigint: true });
    return journalStream === `${dev}:${ino}`;
  } catch {
    return false; // closed
  }
}

/** Every line of the text with that priority. */
export function withPriority(text: string, priority: number): string {
  return text.replaceAll(/^(?=.)/gm, `<${priority}>`);
}

/** Priority of one of pino's levels, which are multiples of ten from 10 (trace) to 60 (fatal). */
export function priorityOf(level: number): number {
  if (level >= 60) return 2;
  if (level >= 50) return 3;
  if (level >= 40) return 4;
  return level >= 30 ? 6 : 7;
}

/** A destination for pino that writes the lines with their priorities. */
export function journalDestination(stream: { write(text: string): unknown }): {
  write(line: string): void;
} {
  // pino sets `lastLevel` before each line on a destination that has this mark.
  const destination = {
    [Symbol.for('pino.metadata')]: true,
    lastLevel: 30,
    write: (line: string) => {
      stream.write(withPriority(line, priorityOf(destination.lastLevel)));
    },
  };
  return destination;
}
