/**
 * Commands of `latchkey-agent` in this process, with what they printed.
 *
 * @module
 */
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { type Io, runProgram } from '@latchkey/agent/cli';
import { createHttpClient, systemClock } from '@latchkey/shared';

export interface CliOutcome {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  readonly input?: string | Buffer;
  readonly change?: Partial<Io>;
}

export async function runAgentCli(
  args: readonly string[],
  { input = '', change = {} }: CliOptions = {},
): Promise<CliOutcome> {
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
  stdin.end(input);
  const said = Promise.all([text(stdout), text(stderr)]);
  const exitCode = await runProgram(args, {
    stdin,
    stdout,
    stderr,
    clock: systemClock,
    http: createHttpClient(),
    random: () => 0.5,
    environment: {},
    signal: new AbortController().signal,
    ...change,
  });
  stdout.end();
  stderr.end();
  const [out, err] = await said;
  return { exitCode, stdout: out, stderr: err };
}
