/**
 * Runs the `latchkey` command line in process, with captured streams.
 *
 * @module
 */
import { PassThrough, Readable, Writable } from 'node:stream';
import { type Io, runProgram } from '@latchkey/authority';
import { type Clock, createHttpClient, systemClock } from '@latchkey/shared';

export interface CliOutcome {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  readonly clock?: Clock;
  readonly stdin?: string;
  /** Whether somebody answers questions, by what is in `stdin`; default false. */
  readonly isInteractive?: boolean;
  readonly signal?: AbortSignal;
  /** Columns of the terminal that stdout is; default: it is none. */
  readonly terminalWidth?: number;
  /** Sees stdout as it is written, such as the log of `serve`. */
  readonly onStdout?: (text: string) => void;
}

function sink(onText: (text: string) => void): Writable {
  return new Writable({
    write: (chunk, _encoding, done) => {
      onText(String(chunk));
      done();
    },
  });
}

export async function runCli(
  args: readonly string[],
  options: CliOptions = {},
): Promise<CliOutcome> {
  const { clock = systemClock, stdin, isInteractive = false, terminalWidth, onStdout } = options;
  const { signal = new AbortController().signal } = options;
  let stdout = '';
  let stderr = '';
  const io: Io = {
    stdin: stdin === undefined ? new PassThrough().end() : Readable.from([stdin]),
    isInteractive,
    stdout: sink((text) => {
      stdout += text;
      onStdout?.(text);
    }),
    stderr: sink((text) => {
      stderr += text;
    }),
    terminalWidth,
    clock,
    http: createHttpClient(),
    signal,
  };
  const exitCode = await runProgram(args, io);
  return { exitCode, stdout, stderr };
}
