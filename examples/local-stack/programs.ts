/**
 * Starts our own command-line programs as processes: some to their end, some to keep running.
 *
 * Units   milliseconds.
 * Errors  `Error` with what the program printed, when it fails.
 * Source  none.
 *
 * @module
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

/** Root of the clone; this file is `examples/dist/local-stack/programs.js`. */
const root = new URL('../../../', import.meta.url);

const BIN = {
  latchkey: fileURLToPath(new URL('authority/bin/latchkey.js', root)),
  'latchkey-broker': fileURLToPath(new URL('broker-plugin/bin/latchkey-broker.js', root)),
  'latchkey-agent': fileURLToPath(new URL('agent/bin/latchkey-agent.js', root)),
} as const;
export type Program = keyof typeof BIN;

/** A program of this folder, compiled, as an argument vector. */
export function exampleCommand(name: string): readonly string[] {
  return [process.execPath, fileURLToPath(new URL(`../${name}.js`, import.meta.url))];
}

/** A file of this folder. */
export function exampleFile(name: string): string {
  return fileURLToPath(new URL(`examples/${name}`, root));
}

export interface Outcome {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end. */
export async function run(program: Program, args: readonly string[]): Promise<Outcome> {
  const child = spawn(process.execPath, [BIN[program], ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [stdout, stderr] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ]);
  return { exitCode: child.exitCode, stdout, stderr };
}

/** Runs a program that must succeed; returns its stdout. */
export async function mustRun(program: Program, args: readonly string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await run(program, args);
  if (exitCode !== 0) {
    throw new Error(`${program} ${args.join(' ')} failed (exit ${exitCode}):\n${stderr.trimEnd()}`);
  }
  return stdout;
}

/** One line of a program's JSON log. */
export type LogLine = Readonly<Record<string, unknown>>;

export interface RunningProgram {
  readonly name: string;
  readonly pid: number | undefined;
  /** Resolves with the last lines of stderr when the process has ended. */
  readonly ended: Promise<{ readonly exitCode: number | null; readonly lastWords: string }>;
  /** SIGTERM, and SIGKILL after five seconds; resolves when the process is gone. */
  stop(): Promise<void>;
}

const GRACE_MS = 5000;
const LAST_WORDS = 20;

function parseLogLine(line: string): LogLine | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

async function stopChild(child: ChildProcess, ended: Promise<unknown>): Promise<void> {
  child.kill('SIGTERM');
  const killer = setTimeout(() => child.kill('SIGKILL'), GRACE_MS);
  await ended;
  clearTimeout(killer);
}

/** Starts a program that keeps running and gives each line of its log to `onLine`. */
export function start(
  name: string,
  program: Program,
  args: readonly string[],
  onLine: (line: LogLine) => void,
): RunningProgram {
  const child = spawn(process.execPath, [BIN[program], ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const lastWords: string[] = [];
  const remember = (line: string) => {
    lastWords.push(line);
    if (lastWords.length > LAST_WORDS) lastWords.shift();
  };
  createInterface({ input: child.stdout }).on('line', (line) => {
    const parsed = parseLogLine(line);
    if (parsed === undefined) remember(line);
    else onLine(parsed);
  });
  createInterface({ input: child.stderr }).on('line', remember);
  const ended = once(child, 'close').then(() => ({
    exitCode: child.exitCode,
    lastWords: lastWords.join('\n'),
  }));
  return { name, pid: child.pid, ended, stop: () => stopChild(child, ended) };
}
