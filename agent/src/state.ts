/**
 * What the agent is doing now and what it did so far; `status` and the log show it.
 *
 * Units   NumericDate.
 * Errors  none.
 * Source  DESIGN 7 (states).
 *
 * @module
 */
import type { Clock, Logger, NumericDate } from '@latchkey/shared';

/**
 * `enrolling`: a key, and no answer of the authority yet. `obtaining`: asking for a token.
 * `connecting`: waiting for the broker. `online`. `renewing`: online, and asking for the next token.
 * `backing-off`: waiting before the next try. `offline`: not running. `stopped`: an operator is needed.
 */
export const AGENT_STATES = [
  'enrolling',
  'obtaining',
  'connecting',
  'online',
  'renewing',
  'backing-off',
  'offline',
  'stopped',
] as const;
export type AgentState = (typeof AGENT_STATES)[number];

const COUNTERS = [
  'connections',
  'renewals',
  'published',
  'refused',
  'dropped',
  'received',
  'delivered',
  'droppedDeliveries',
  'droppedReadings',
  'failedReadings',
  'unchangedReadings',
  'actions',
  'failedActions',
  'droppedActions',
  'refusedActions',
] as const;
export type Counter = (typeof COUNTERS)[number];

export interface AgentStatus {
  readonly state: AgentState;
  readonly since: NumericDate;
  readonly detail: string | undefined;
  /** The token of the present or last connection; never its text. */
  readonly token: { readonly expiresAt: NumericDate; readonly scope: string } | undefined;
  readonly lastError: { readonly at: NumericDate; readonly message: string } | undefined;
  readonly counters: Readonly<Record<Counter, number>>;
}

/** The next try of the state `backing-off`. */
export interface Retry {
  /** By `Clock.elapsedMs`. */
  readonly dueAtMs: number;
  /** Nothing will change until an operator acts. */
  readonly needsOperator: boolean;
}

export interface StateKeeper {
  /** Logs `agent.state` when state or detail changes. */
  enter(state: AgentState, detail?: string, retry?: Retry): void;
  count(counter: Counter): void;
  noteError(message: string): void;
  noteToken(token: { readonly expiresAt: NumericDate; readonly scope: string }): void;
  status(): AgentStatus;
  /** Where it stands: `entries` counts what was entered, so that staying can be told from coming back. */
  place(): { readonly entries: number; readonly retry: Retry | undefined };
}

export function createStateKeeper(deps: {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called after state or detail changed. */
  readonly onChange?: () => void;
}): StateKeeper {
  const { clock, logger, onChange } = deps;
  const counters = Object.fromEntries(COUNTERS.map((name) => [name, 0])) as Record<Counter, number>;
  let state: AgentState = 'offline';
  let detail: string | undefined;
  let since = clock.now();
  let token: AgentStatus['token'];
  let lastError: AgentStatus['lastError'];
  let entries = 0;
  let retry: Retry | undefined;

  return {
    enter: (nextState, nextDetail, nextRetry) => {
      entries += 1;
      retry = nextRetry;
      if (nextState === state && nextDetail === detail) return;
      if (nextState !== state) since = clock.now();
      state = nextState;
      detail = nextDetail;
      const level = state === 'stopped' ? 'error' : state === 'backing-off' ? 'warn' : 'info';
      logger[level]({ event: 'agent.state', state, ...(detail && { detail }) }, 'agent state');
      onChange?.();
    },
    count: (counter) => {
      counters[counter] += 1;
    },
    noteError: (message) => {
      lastError = { at: clock.now(), message };
    },
    noteToken: ({ expiresAt, scope }) => {
      token = { expiresAt, scope };
    },
    status: () => ({ state, since, detail, token, lastError, counters: { ...counters } }),
    place: () => ({ entries, retry }),
  };
}
