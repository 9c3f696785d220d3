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
  /** Whether waiting mends nothing: somebody refused us, and `detail` says what an operator can do. */
  readonly needsOperator: boolean;
  /** The broker that is, or was last, connected to or tried. */
  readonly broker: URL | undefined;
  /** The token of the present or last connection; never its text. */
  readonly token: { readonly expiresAt: NumericDate; readonly scope: string } | undefined;
  readonly lastError: { readonly at: NumericDate; readonly message: string } | undefined;
  readonly counters: Readonly<Record<Counter, number>>;
}

/** The next try, after one that failed. */
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
  noteBroker(url: URL): void;
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
  let needsOperator = false;
  let broker: URL | undefined;
  let token: AgentStatus['token'];
  let lastError: AgentStatus['lastError'];
  let entries = 0;
  let retry: Retry | undefined;

  return {
    enter: (nextState, nextDetail, nextRetry) => {
      entries += 1;
      retry = nextRetry;
      // Asking once more does not mean that it was mended.
      const isTrying = nextState === 'obtaining' || nextState === 'connecting';
      const isRefused = nextRetry?.needsOperator ?? (isTrying && needsOperator);
      needsOperator = nextState === 'stopped' || isRefused;
      if (nextState === state && nextDetail === detail) return;
      if (nextState !== state) since = clock.now();
      state = nextState;
      detail = nextDetail;
      const level =
        needsOperator && !isTrying ? 'error' : state === 'backing-off' ? 'warn' : 'info';
      logger[level]({ event: 'agent.state', state, ...(detail && { detail }) }, 'agent state');
      onChange?.();
    },
    count: (counter) => {
      counters[counter] += 1;
    },
    noteError: (message) => {
      lastError = { at: clock.now(), message };
    },
    noteBroker: (url) => {
      broker = url;
    },
    noteToken: ({ expiresAt, scope }) => {
      token = { expiresAt, scope };
    },
    status: () => ({
      ...{ state, since, detail, needsOperator, broker, token, lastError },
      counters: { ...counters },
    }),
    place: () => ({ entries, retry }),
  };
}
