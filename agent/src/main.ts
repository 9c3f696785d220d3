/**
 * Entry of the program `latchkey-agent`.
 *
 * Units   none.
 * Errors  none leave; the exit code tells.
 * Source  STYLE 2.3 (SIGTERM and SIGINT end cleanly).
 *
 * @module
 */
import { createHttpClient, systemClock } from '@latchkey/shared';
import { runProgram } from './cli/program.js';
import { isJournal } from './journal.js';

const stop = new AbortController();
for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort());

// A reader that went away (`status | head`, a log that was closed) is no reason to fail.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}

// biome-ignore lint/style/noProcessEnv: the entry of the program is where the environment is read
const env = process.env;

/** Of our environment, what a command needs to find its programs and to know place and language. */
function commandEnvironment(): Record<string, string> {
  return Object.fromEntries(
    ['PATH', 'HOME', 'LANG', 'TZ'].flatMap((name) => {
      const value = env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

const io = {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  clock: systemClock,
  http: createHttpClient(),
  random: Math.random,
  environment: commandEnvironment(),
  sshAgentSocket: env.SSH_AUTH_SOCK || undefined,
  service: {
    notifySocket: env.NOTIFY_SOCKET,
    watchdogUsec: env.WATCHDOG_USEC,
    watchdogPid: env.WATCHDOG_PID,
    path: env.PATH,
  },
  journal: {
    isStdout: isJournal(1, env.JOURNAL_STREAM),
    isStderr: isJournal(2, env.JOURNAL_STREAM),
  },
  onHangup: (handler: () => void) => void process.on('SIGHUP', handler),
  monotonicUsec: () => process.hrtime.bigint() / 1000n,
  signal: stop.signal,
};
// Not awaited at the top level: the bundle is CommonJS, which has no such thing.
void runProgram(process.argv.slice(2), io).then((exitCode) => {
  process.exitCode = exitCode;
});
