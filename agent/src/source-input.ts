/**
 * Where a source reads: a file, the output of a command, or what a socket answers. All are bounded in
 * size; command and socket in time too.
 *
 * Units   seconds, sizes in bytes.
 * Errors  none leave: a `problem` says why there is no text.
 * Source  Invariant I11; open(2) `O_NONBLOCK`.
 *
 * @module
 */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { connect } from 'node:net';
import type { Clock } from '@latchkey/shared';
import { runCommand } from './child-process.js';
import type { SourceInput } from './config.js';

const MAX_INPUT_BYTES = 64 * 1024;
const TOO_LARGE = `it is longer than ${MAX_INPUT_BYTES} bytes`;
const NEWLINE = 0x0a;

export interface InputDeps {
  readonly clock: Clock;
  readonly workingDir: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

export type InputText = { readonly text: string } | { readonly problem: string };

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';

/** Files of sensors have no size, so they are read to their end. */
async function readFile(path: string): Promise<InputText> {
  try {
    // A pipe that nobody writes to would otherwise hold a thread of the pool for ever.
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const buffer = Buffer.alloc(MAX_INPUT_BYTES + 1);
      let sizeBytes = 0;
      while (sizeBytes < buffer.length) {
        const { bytesRead } = await file.read(buffer, sizeBytes);
        if (bytesRead === 0) break;
        sizeBytes += bytesRead;
      }
      if (sizeBytes > MAX_INPUT_BYTES) return { problem: `${path}: ${TOO_LARGE}` };
      return { text: buffer.toString('utf8', 0, sizeBytes) };
    } finally {
      await file.close();
    }
  } catch (error) {
    return { problem: `${path} cannot be read (${codeOf(error)})` };
  }
}

async function readCommand(
  { command, timeoutSeconds }: Extract<SourceInput, { kind: 'command' }>,
  deps: InputDeps,
): Promise<InputText> {
  const { end, exitCode, output, errorText } = await runCommand({
    command,
    timeoutMs: timeoutSeconds * 1000,
    maxOutputBytes: MAX_INPUT_BYTES,
    ...deps,
  });
  if (exitCode === 0) return { text: output.toString('utf8') };
  return { problem: `the command failed (${exitCode ?? end}) ${errorText}`.trim() };
}

/** Connects, writes `send`, and reads to the end of the line or until the other side closes. */
function readSocket(
  { address, send, until, timeoutSeconds }: Extract<SourceInput, { kind: 'socket' }>,
  { clock, signal }: InputDeps,
): Promise<InputText> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    const over = new AbortController();
    const socket = connect(address);
    const finish = (result: InputText): void => {
      over.abort();
      signal.removeEventListener('abort', stop);
      socket.destroy();
      resolve(result);
    };
    const fail = (problem: string): void => finish({ problem: `the socket failed (${problem})` });
    const stop = (): void => fail('aborted');
    const text = (): string => Buffer.concat(chunks).toString('utf8');

    socket.on('data', (chunk: Buffer) => {
      const lineEnd = until === 'line' ? chunk.indexOf(NEWLINE) : -1;
      const wanted = lineEnd === -1 ? chunk : chunk.subarray(0, lineEnd);
      sizeBytes += wanted.length;
      if (sizeBytes > MAX_INPUT_BYTES) return fail(TOO_LARGE);
      chunks.push(wanted);
      if (lineEnd !== -1) finish({ text: text() });
    });
    socket.once('end', () => {
      if (sizeBytes === 0) fail('closed without an answer');
      else finish({ text: text() });
    });
    socket.once('error', (error) => fail(codeOf(error)));
    if (send !== undefined) socket.write(send);
    signal.addEventListener('abort', stop);
    if (signal.aborted) stop();
    clock.sleep(timeoutSeconds * 1000, over.signal).then(
      () => fail('timeout'),
      () => undefined,
    );
  });
}

export function readInput(input: SourceInput, deps: InputDeps): Promise<InputText> {
  switch (input.kind) {
    case 'file':
      return readFile(input.path);
    case 'command':
      return readCommand(input, deps);
    case 'socket':
      return readSocket(input, deps);
  }
}
