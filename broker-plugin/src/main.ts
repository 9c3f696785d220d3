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
const STOP_SIGNALS = ['SIGTERM', 'SIGINT'] as const;
/** The first signal ends the broker in order. Nobody listens for a second one, so it ends it at once. */
const onStop = (): void => {
  for (const name of STOP_SIGNALS) process.removeListener(name, onStop);
  stop.abort();
};
for (const name of STOP_SIGNALS) process.on(name, onStop);

process.exitCode = await runProgram(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  clock: systemClock,
  signal: stop.signal,
  onReload: (listener) => process.on('SIGHUP', listener),
});
