/**
 * Runs one command for the device's owner: no shell, little environment, bounded in time and output.
 *
 * Units   milliseconds, sizes in bytes.
 * Errors  none: every end is a result.
 * Source  Invariants I1 (nothing secret in argv or environment) and I11 (everything is bounded).
 *
 * @module
 */
import { spawn } from 'node:child_process';
import type { Clock } from '@latchkey/shared';
import type { Command } from './config.js';

export interface CommandRun {
  readonly command: Command;
  readonly input?: Buffer;
  readonly timeoutMs: number;
  /** Greatest size of the standard output; the command is killed when it writes more. */
  readonly maxOutputBytes: number;
  readonly workingDir: string;
  /** All of the command's environment. */
  readonly environment: Readonly<Record<string, string>>;
  readonly clock: Clock;
  /** Kills the command. */
  readonly signal: AbortSignal;
}

export interface CommandResult {
  readonly end: 'exited' | 'killed' | 'timeout' | 'too-much-output' | 'not-started';
  /** Only when it exited by itself. */
  readonly exitCode: number | null;
  readonly output: Buffer;
  /** First part of the standard error, for the log. */
  readonly errorText: string;
}

const MAX_ERROR_TEXT = 400;

/** Runs the command in a process group of its own, so that what it started ends with it. */
export function runCommand(run: CommandRun): Promise<CommandResult> {
  const [program, ...args] = run.command;
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    let errorText = '';
    let forced: 'killed' | 'timeout' | 'too-much-output' | undefined;
    const over = new AbortController();

    const finish = (end: CommandResult['end'], exitCode: number | null): void => {
      over.abort();
      run.signal.removeEventListener('abort', stop);
      resolve({ end, exitCode, output: Buffer.concat(chunks), errorText: errorText.trim() });
    };
    const kill = (reason: NonNullable<typeof forced>): void => {
      forced ??= reason;
      if (child.pid === undefined) return;
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        child.kill('SIGKILL'); // the group is gone already
      }
    };
    const stop = (): void => kill('killed');

    const child = spawn(program, args, {
      cwd: run.workingDir,
      env: { ...run.environment },
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    child.once('error', (error: NodeJS.ErrnoException) => {
      errorText ||= error.code ?? 'cannot be started';
      if (child.pid === undefined) finish('not-started', null);
    });
    child.once('close', (exitCode) => {
      if (child.pid === undefined) return;
      finish(forced ?? 'exited', forced === undefined ? exitCode : null);
    });
    child.stdout.on('data', (chunk: Buffer) => {
      sizeBytes += chunk.length;
      if (sizeBytes > run.maxOutputBytes) kill('too-much-output');
      else chunks.push(chunk);
    });
    child.stderr.on('data', (chunk: Buffer) => {
      errorText = (errorText + chunk.toString('utf8')).slice(0, MAX_ERROR_TEXT);
    });
    child.stdin.on('error', () => undefined); // a command need not read its input
    child.stdin.end(run.input);
    run.signal.addEventListener('abort', stop);
    if (run.signal.aborted) stop();
    run.clock.sleep(run.timeoutMs, over.signal).then(
      () => kill('timeout'),
      () => undefined,
    );
  });
}
