/**
 * Entry of the program `latchkey`: gives the command line the process's streams and signals.
 *
 * Units   sizes in bytes.
 * Errors  none; the exit code tells.
 * Source  none.
 *
 * @module
 */
import { createHttpClient, systemClock } from '@latchkey/shared';
import { runProgram } from './cli/program.js';

/** A page of devices with many labels is larger than what an agent should ever read. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

const controller = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => controller.abort());
}
// The reader of a pipe, such as `head`, has seen enough.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : 1);
});

process.exitCode = await runProgram(process.argv.slice(2), {
  stdin: process.stdin,
  isInteractive: process.stdin.isTTY === true && process.stderr.isTTY === true,
  stdout: process.stdout,
  // Some terminals say that they have no columns.
  terminalWidth: (process.stdout.isTTY && process.stdout.columns) || undefined,
  stderr: process.stderr,
  clock: systemClock,
  http: createHttpClient({ maxBodyBytes: MAX_ANSWER_BYTES }),
  // biome-ignore lint/style/noProcessEnv: systemd.exec(5) tells the place of credentials only so.
  credentialsDirectory: process.env.CREDENTIALS_DIRECTORY,
  onReload: (reload) => process.on('SIGHUP', reload),
  signal: controller.signal,
});
