/**
 * `latchkey-agent run`: the daemon, until SIGTERM or SIGINT.
 *
 * Units   none.
 * Errors  exit code 1 when only an operator can help (state `stopped`), 2 for configuration.
 * Source  DESIGN 7.
 *
 * @module
 */
import { EXIT, type Logger, strikeOut } from '@latchkey/shared';
import { createAgent } from '../agent.js';
import { loadAgentConfig } from '../config-file.js';
import { type Io, writeLine } from './io.js';

export interface RunOptions {
  readonly config: string;
}

export async function runRun(options: RunOptions, io: Io): Promise<number> {
  const config = await loadAgentConfig(options.config);
  const { pino } = await import('pino'); // only the daemon writes a log
  const logger: Logger = pino(
    { level: config.logLevel, base: null, formatters: { log: strikeOut } },
    io.stdout,
  );
  const agent = createAgent(config, { ...io, logger });
  const end = await agent.run(io.signal);
  if (end === 'aborted') return EXIT.ok;
  writeLine(io.stderr, agent.status().detail ?? 'stopped');
  return EXIT.failed;
}
