/**
 * What a command is given instead of globals, so that tests run commands in process.
 *
 * Units   none.
 * Errors  none.
 * Source  STYLE 2.10.
 *
 * @module
 */
import type { Readable, Writable } from 'node:stream';
import { type Clock, type HttpClient, UsageError } from '@latchkey/shared';
import type { ServiceEnvironment } from '../service-manager.js';

export interface Io {
  readonly stdin: Readable;
  /** Results. */
  readonly stdout: Writable;
  /** Messages for a person. */
  readonly stderr: Writable;
  readonly clock: Clock;
  readonly http: HttpClient;
  readonly random: () => number;
  /** Environment of the commands that sources and actions run. */
  readonly environment: Readonly<Record<string, string>>;
  /** Path of the Unix socket of ssh-agent, if one runs: `SSH_AUTH_SOCK`. */
  readonly sshAgentSocket?: string | undefined;
  /** What systemd gave to the program; absent when it was started by hand. */
  readonly service?: ServiceEnvironment;
  /** Which streams go to the journal, and so need a priority before each line. */
  readonly journal?: { readonly isStdout: boolean; readonly isStderr: boolean };
  /** Calls the handler at each SIGHUP from now on. */
  readonly onHangup?: (handler: () => void) => void;
  /** Microseconds of CLOCK_MONOTONIC. */
  readonly monotonicUsec?: () => bigint;
  /** Aborts at SIGTERM and SIGINT. */
  readonly signal: AbortSignal;
}

/** All of a stream; refuses more than `maxBytes`. */
export async function readAll(stream: Readable, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of stream as AsyncIterable<Buffer | string>) {
    const bytes = Buffer.from(chunk as Buffer);
    sizeBytes += bytes.length;
    if (sizeBytes > maxBytes) throw new UsageError(`the input exceeds ${maxBytes} bytes`);
    chunks.push(bytes);
  }
  return Buffer.concat(chunks);
}

export function writeLine(stream: Writable, line: string): void {
  stream.write(`${line}\n`);
}
