/**
 * What a command is given of the world, so that tests run commands in process.
 *
 * Units   none.
 * Errors  none.
 * Source  STYLE 2.10.
 *
 * @module
 */
import type { Readable, Writable } from 'node:stream';
import type { Clock, HttpClient } from '@latchkey/shared';

export interface Io {
  readonly stdin: Readable;
  /** Whether a person is there to answer a question. */
  readonly isInteractive: boolean;
  /** Results. */
  readonly stdout: Writable;
  /** Columns of the terminal that stdout is; `undefined` when it is none, and nothing is cut. */
  readonly terminalWidth?: number | undefined;
  /** Messages for a person. */
  readonly stderr: Writable;
  readonly clock: Clock;
  readonly http: HttpClient;
  /** Calls when the program has to read its files again. */
  readonly onReload?: (reload: () => void) => void;
  /** `$CREDENTIALS_DIRECTORY`, where systemd puts what the unit file loads. */
  readonly credentialsDirectory?: string | undefined;
  /** Aborts when the program has to end. */
  readonly signal: AbortSignal;
}

/** Prints a result. */
export function printLine(io: Io, text: string): void {
  io.stdout.write(`${text}\n`);
}

/** Prints a result for machines. */
export function printJson(io: Io, value: unknown): void {
  printLine(io, JSON.stringify(value, undefined, 2));
}

/** Tells a person something that is not part of the result. */
export function printNote(io: Io, text: string): void {
  io.stderr.write(`${text}\n`);
}
