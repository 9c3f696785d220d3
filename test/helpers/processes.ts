/**
 * Our programs as real processes, built code, as a user starts them; and free ports and folders for them.
 *
 * @module
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

const BIN = {
  latchkey: join(ROOT, 'authority/bin/latchkey.js'),
  'latchkey-broker': join(ROOT, 'broker-plugin/bin/latchkey-broker.js'),
  'latchkey-agent': join(ROOT, 'agent/bin/latchkey-agent.js'),
  'local-stack': join(ROOT, 'examples/dist/local-stack/main.js'),
} as const;
export type Program = keyof typeof BIN;

export interface Outcome {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs any command to its end. */
export async function runCommand(
  command: string,
  args: readonly string[],
  options: { readonly input?: string; readonly cwd?: string } = {},
): Promise<Outcome> {
  const child = spawn(command, args, { stdio: 'pipe', cwd: options.cwd });
  child.stdin.on('error', () => undefined); // it may end without reading
  child.stdin.end(options.input ?? '');
  const [stdout, stderr] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ]);
  return { exitCode: child.exitCode, stdout, stderr };
}

/** Runs one of our programs to its end. */
export function runProgram(
  program: Program,
  args: readonly string[],
  options: { readonly input?: string } = {},
): Promise<Outcome> {
  return runCommand(process.execPath, [BIN[program], ...args], options);
}

/** Runs one of our programs, which must succeed; returns its stdout. */
export async function mustRun(program: Program, args: readonly string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await runProgram(program, args);
  if (exitCode !== 0) throw new Error(`${program} ${args.join(' ')}: exit ${exitCode}\n${stderr}`);
  return stdout;
}

export interface Running {
  readonly child: ChildProcess;
  /** All lines printed so far, stdout and stderr. */
  readonly lines: readonly string[];
  /** Resolves with the first line, past or future, that satisfies; rejects when the program ends first. */
  line(satisfies: (line: string) => boolean): Promise<string>;
  /** Resolves with the first log line of that event whose fields satisfy. */
  event(
    name: string,
    satisfies?: (fields: Record<string, unknown>) => boolean,
  ): Promise<Record<string, unknown>>;
  /** Sends the signal and resolves with the exit code. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

function parseEvent(line: string): Record<string, unknown> {
  try {
    return { ...(JSON.parse(line) as Record<string, unknown>) };
  } catch {
    return {};
  }
}

export interface ProgramOptions {
  /** No file may grow beyond, in KiB: what a full disk does to it, without one. */
  readonly maxFileKib?: number;
  /** The program's file, if it is not the one that `tsc -b` built. */
  readonly file?: string;
  /** Beside the environment of the test. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** Starts one of our programs; it is killed when the test ends. */
export function startProgram(
  program: Program,
  args: readonly string[],
  options: ProgramOptions = {},
): Running {
  const command = [process.execPath, options.file ?? BIN[program], ...args];
  const [file, ...rest] =
    options.maxFileKib === undefined
      ? command
      : ['bash', '-c', `ulimit -f ${options.maxFileKib}; exec "$@"`, 'bash', ...command];
  const env = { ...process.env, ...options.environment };
  const child = spawn(file as string, rest, { stdio: ['ignore', 'pipe', 'pipe'], env });
  const lines: string[] = [];
  const news = new EventEmitter().setMaxListeners(0);
  const onLine = (line: string) => {
    lines.push(line);
    news.emit('news');
  };
  createInterface({ input: child.stdout }).on('line', onLine);
  createInterface({ input: child.stderr }).on('line', onLine);
  const closed = once(child, 'close').then(() => news.emit('news'));
  const isOver = () => child.exitCode !== null || child.signalCode !== null;
  onTestFinished(() => void child.kill('SIGKILL'));

  const line = async (satisfies: (line: string) => boolean): Promise<string> => {
    for (let next = 0; ; ) {
      while (next < lines.length) {
        const found = lines[next] as string;
        next += 1;
        if (satisfies(found)) return found;
      }
      if (isOver()) throw new Error(`${program} ended (${child.exitCode}):\n${lines.join('\n')}`);
      await once(news, 'news');
    }
  };
  return {
    child,
    lines,
    line,
    event: async (name, satisfies = () => true) => {
      const isIt = (fields: Record<string, unknown>) => fields.event === name && satisfies(fields);
      return parseEvent(await line((text) => isIt(parseEvent(text))));
    },
    stop: async (signal = 'SIGTERM') => {
      child.kill(signal);
      await closed;
      return child.exitCode;
    },
  };
}

/** A port of 127.0.0.1 that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { readonly port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/** A folder that is removed when the test ends. */
export function temporaryDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'latchkey-test-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}
