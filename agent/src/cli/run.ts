/**
 * `latchkey-agent run`: the daemon, until SIGTERM or SIGINT; SIGHUP reads its configuration anew.
 *
 * Units   none.
 * Errors  exit code 1 when only an operator can help (state `stopped`), 2 for configuration.
 * Source  DESIGN 7.
 *
 * @module
 */
import { EXIT, strikeOut } from '@latchkey/shared';
import { type Agent, createAgent } from '../agent.js';
import { loadAgentConfig } from '../config-file.js';
import { journalDestination } from '../journal.js';
import { connectServiceManager } from '../service-manager.js';
import { createSupervision, type Supervision } from '../supervision.js';
import { type Io, writeLine } from './io.js';
import { createReload } from './reload.js';

export interface RunOptions {
  readonly config: string;
}

export async function runRun(options: RunOptions, io: Io): Promise<number> {
  const config = await loadAgentConfig(options.config);
  const { clock, signal } = io;
  const { pino } = await import('pino'); // only the daemon writes a log
  const logger = pino(
    { level: config.logLevel, base: null, formatters: { log: strikeOut } },
    io.journal?.isStdout ? journalDestination(io.stdout) : io.stdout,
  );
  let supervision: Supervision | undefined;
  const agent: Agent = createAgent(config, {
    ...{ ...io, logger },
    onStatus: () => supervision?.update(),
  });
  const manager = connectServiceManager({
    ...{ environment: io.service ?? {}, pid: process.pid, clock, logger },
  });
  if (manager !== undefined) supervision = createSupervision({ manager, agent, clock, logger });
  io.onHangup?.(
    createReload({
      ...{ file: options.config, agent, logger, io },
      setLogLevel: (level) => {
        logger.level = level;
      },
      supervision: () => supervision,
    }),
  );
  const over = new AbortController();
  signal.addEventListener('abort', () => supervision?.stopping());
  const supervising = supervision?.run(AbortSignal.any([signal, over.signal]));
  try {
    const end = await agent.run(signal);
    if (end === 'aborted') return EXIT.ok;
    writeLine(io.stderr, agent.status().detail ?? 'stopped');
    return EXIT.failed;
  } finally {
    over.abort();
    await supervising;
    await manager?.idle();
  }
}
