/**
 * Entry of the program `latchkey-broker`.
 *
 * Units   none.
 * Errors  none leave; the exit code tells.
 * Source  STYLE 2.3 (SIGTERM and SIGINT end cleanly).
 *
 * @module
 */
import { systemClock } from '@latchkey/shared';
import { runProgram } from './cli/program.js';

const stop = new AbortController();
for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort());

process.exitCode = await runProgram(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  clock: systemClock,
  signal: stop.signal,
  onReload: (listener) => process.on('SIGHUP', listener),
});
