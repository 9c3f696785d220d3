/**
 * What a command is given instead of globals, so that tests run commands in process.
 *
 * Units   none.
 * Errors  none.
 * Source  STYLE 2.10.
 *
 * @module
 */
import type { Writable } from 'node:stream';
import type { Clock } from '@latchkey/shared';

export interface Io {
  /** Results, and the log of a running broker. */
  readonly stdout: Writable;
  /** Messages for a person. */
  readonly stderr: Writable;
  readonly clock: Clock;
  /** Aborts at SIGTERM and SIGINT. */
  readonly signal: AbortSignal;
  /** Calls the listener at each SIGHUP. */
  readonly onReload?: (listener: () => void) => void;
}

export interface ConfigOptions {
  readonly config: string;
  /** Listens beyond loopback without TLS. */
  readonly insecure?: boolean;
}

export function writeLine(stream: Writable, line: string): void {
  stream.write(`${line}\n`);
}
