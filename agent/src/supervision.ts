/**
 * Tells the service manager how the agent is doing.
 *
 * Ready is an agent that is online, or safely offline: its messages are kept on disk and the next try
 * is known. Signs of life stop when the agent is stuck in a way that a restart may mend; a device that
 * cannot reach its broker is not stuck.
 *
 * Units   milliseconds.
 * Errors  none.
 * Source  DESIGN 7; sd_notify(3).
 *
 * @module
 */
import type { Clock, Logger } from '@latchkey/shared';
import type { Agent } from './agent.js';
import type { Problem } from './health.js';
import type { ServiceManager } from './service-manager.js';
import type { AgentState } from './state.js';

export interface Supervision {
  /** To be called after each change of the agent's state. */
  update(): void;
  /** Gives signs of life until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
  reloading(monotonicUsec: bigint): void;
  /** The reload is over; `note` is what an operator has to know until the next one. */
  reloaded(note: string | undefined): void;
  stopping(): void;
}

/** How often readiness is looked at when no sign of life is due. */
const LOOK_MS = 10_000;

/** Whether whoever waits for the agent may go on. */
export function isReady(state: AgentState, problems: readonly Problem[]): boolean {
  if (state === 'online' || state === 'renewing') return true;
  return state === 'backing-off' && problems.every(({ kind }) => kind === 'needs-operator');
}

/** One line for `systemctl status`. */
export function statusWords(
  { state, detail }: { readonly state: AgentState; readonly detail: string | undefined },
  problems: readonly Problem[],
): string {
  const stuck = problems.filter(({ kind }) => kind !== 'needs-operator');
  const words = detail === undefined ? state : `${state}: ${detail}`;
  return [words, ...stuck.map((problem) => problem.detail)].join('; ');
}

export function createSupervision(deps: {
  readonly manager: ServiceManager;
  readonly agent: Pick<Agent, 'status' | 'problems'>;
  readonly clock: Clock;
  readonly logger: Logger;
}): Supervision {
  const { manager, agent, clock, logger } = deps;
  let hasTold = '';
  let wasReady = false;
  let isStopping = false;
  let isWithheld = false;
  let note: string | undefined;

  /** What is new since the last time. */
  const news = (): Record<string, string> => {
    const status = agent.status();
    const problems = agent.problems();
    const words = [statusWords(status, problems), note].filter(Boolean).join('; ');
    const becameReady = !wasReady && isReady(status.state, problems);
    const said = {
      ...(becameReady && { READY: '1' }),
      ...(words !== hasTold && { STATUS: words }),
    };
    hasTold = words;
    wasReady ||= becameReady;
    return said;
  };

  const signOfLife = (): Record<string, string> => {
    const stuck = agent.problems().find(({ isMendedByRestart }) => isMendedByRestart);
    if (stuck !== undefined && !isWithheld) {
      const { kind, detail } = stuck;
      logger.error({ event: 'service.stuck', kind, detail }, 'stuck; no more signs of life');
    }
    isWithheld = stuck !== undefined;
    return isWithheld ? {} : { WATCHDOG: '1' };
  };

  const tell = (assignments: Record<string, string>): void => {
    if (!isStopping && Object.keys(assignments).length > 0) manager.tell(assignments);
  };

  return {
    update: () => tell(news()),
    run: async (signal) => {
      const { watchdogMs } = manager;
      while (!signal.aborted) {
        tell({ ...news(), ...(watchdogMs !== undefined && signOfLife()) });
        await clock.sleep(watchdogMs ?? LOOK_MS, signal).catch(() => undefined);
      }
    },
    reloading: (monotonicUsec) => {
      // READY would end what never began.
      if (wasReady) tell({ RELOADING: '1', MONOTONIC_USEC: String(monotonicUsec) });
    },
    reloaded: (nextNote) => {
      note = nextNote;
      tell({ ...(wasReady && { READY: '1' }), ...news() });
    },
    stopping: () => {
      tell({ STOPPING: '1', STATUS: 'stopping: sends what waits' });
      isStopping = true;
    },
  };
}
