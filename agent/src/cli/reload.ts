/**
 * SIGHUP: reads the configuration of the daemon anew. One that is wrong changes nothing.
 *
 * Units   microseconds of CLOCK_MONOTONIC for systemd.
 * Errors  none leave: a wrong file is told in the log, in `status` and to systemd.
 * Source  DESIGN 7; sd_notify(3) (`RELOADING=1`).
 *
 * @module
 */
import { ConfigError, type Logger } from '@latchkey/shared';
import type { Agent } from '../agent.js';
import type { LogLevel } from '../config.js';
import { loadAgentConfig } from '../config-file.js';
import type { Supervision } from '../supervision.js';
import type { Io } from './io.js';

export interface ReloadDeps {
  readonly file: string;
  readonly agent: Pick<Agent, 'reload' | 'noteError'>;
  readonly logger: Logger;
  readonly io: Pick<Io, 'signal' | 'monotonicUsec'>;
  readonly setLogLevel: (level: LogLevel) => void;
  readonly supervision: () => Supervision | undefined;
}

/** What to call at each SIGHUP. Signals during a reload lead to one more. */
export function createReload(deps: ReloadDeps): () => void {
  const { file, agent, logger, io, setLogLevel } = deps;
  let isReloading = false;
  let isWanted = false;

  /** Returns what an operator has to know. */
  const reload = async (): Promise<string | undefined> => {
    try {
      const next = await loadAgentConfig(file);
      if (io.signal.aborted) return undefined;
      const { config, applied, needsRestart } = agent.reload(next);
      setLogLevel(config.logLevel);
      logger.info({ event: 'config.reloaded', applied }, 'configuration reloaded');
      if (needsRestart.length === 0) return undefined;
      logger.warn({ event: 'config.needs-restart', parts: needsRestart }, 'restart to apply');
      return `restart to apply ${needsRestart.join(', ')}`;
    } catch (error) {
      const isWrong = error instanceof ConfigError;
      const detail = isWrong ? error.message.replace(/\s*\n\s*/g, '; ') : 'unexpected failure';
      const fields = { event: 'config.refused', detail, ...(!isWrong && { err: error }) };
      logger.error(fields, 'configuration refused; the one before stays in force');
      agent.noteError(`the new configuration is refused: ${detail}`);
      return `the new configuration is refused: ${detail}`;
    }
  };

  const reloadAll = async (): Promise<void> => {
    isReloading = true;
    while (isWanted && !io.signal.aborted) {
      isWanted = false;
      deps.supervision()?.reloading(io.monotonicUsec?.() ?? 0n);
      deps.supervision()?.reloaded(await reload());
    }
    isReloading = false;
  };

  return () => {
    isWanted = true;
    if (!isReloading) void reloadAll();
  };
}
