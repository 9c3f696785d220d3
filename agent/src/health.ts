/**
 * Whether the agent gets on with its work. A process can be alive and answer while nothing moves; that
 * is judged here from what can be seen, not from what some part says of itself.
 *
 * A place that does not change is suspicious, and red when it lasts: seen at each look, so that a device
 * that slept, or was too busy to look, is not taken for stuck. Being offline is not a problem: messages
 * are kept, and the next try is known.
 *
 * Units   milliseconds of `Clock.elapsedMs`.
 * Errors  none.
 * Source  DESIGN 7; sd_notify(3) `WATCHDOG=1`.
 *
 * @module
 */
import type { Clock } from '@latchkey/shared';
import type { Outbox } from './outbox.js';
import type { StateKeeper } from './state.js';

export type ProblemKind =
  /** The disk does not take messages. */
  | 'outbox-refuses'
  /** Online with messages to send, and the broker acknowledged none. */
  | 'outbox-stalled'
  /** One connection after the other, and not one message acknowledged. */
  | 'broker-silent'
  /** The next try should have begun. */
  | 'retry-overdue'
  /** Asking for a token or connecting without an end; each try has a time limit of its own. */
  | 'try-endless'
  /** Work in the process keeps it from everything else. */
  | 'busy'
  /** The authority or the broker refuses this device; the detail says what to do. */
  | 'needs-operator';

export interface Problem {
  readonly kind: ProblemKind;
  readonly detail: string;
  /** Whether a fresh process may do better. Restarting it does not empty a disk. */
  readonly isMendedByRestart: boolean;
}

export interface Health {
  /** Looks again and again until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
  /** What is wrong at the last look; empty: all is well. */
  problems(): readonly Problem[];
}

/** As the local socket tells it. */
export function healthBody(problems: readonly Problem[]): object {
  return {
    health: problems.length === 0 ? 'ok' : 'red',
    problems: problems.map(({ kind, detail }) => ({ kind, detail })),
  };
}

const LOOK_MS = 10_000;
/** Beyond the longest time that an acknowledgement may take, after which the connection is given up. */
const STALLED_MS = 60_000;
/** More than it takes to find and drop a message that the broker refuses by closing. */
const FRUITLESS_CONNECTIONS = 5;
const OVERDUE_MS = 60_000;
/** Beyond all time limits of one try together. */
const ENDLESS_MS = 300_000;
/** A look that comes later than this. */
const BUSY_MS = 5000;

interface Suspicion extends Problem {
  /** The same text at the next look: nothing moved. */
  readonly mark: string;
  readonly redAfterMs: number;
}

type Judged = Pick<StateKeeper, 'status' | 'place'>;

/** What is wrong if it stays as it is. */
function suspect(
  { status, place }: Judged,
  messages: number,
  elapsedMs: number,
): Suspicion | undefined {
  const { state, counters } = status();
  const { entries, retry } = place();
  const { published, refused, dropped } = counters;
  switch (state) {
    case 'online':
    case 'renewing':
      if (messages === 0) return undefined;
      return {
        kind: 'outbox-stalled',
        mark: `settled ${published + refused + dropped}`,
        redAfterMs: STALLED_MS,
        detail: `online, but none of ${messages} messages was acknowledged for a minute`,
        isMendedByRestart: true,
      };
    case 'backing-off': {
      if (retry === undefined || elapsedMs <= retry.dueAtMs) return undefined;
      return {
        kind: 'retry-overdue',
        mark: `entry ${entries}`,
        redAfterMs: OVERDUE_MS,
        detail: 'the next try is overdue by more than a minute',
        isMendedByRestart: true,
      };
    }
    case 'enrolling':
    case 'obtaining':
    case 'connecting':
      return {
        kind: 'try-endless',
        mark: `entry ${entries}`,
        redAfterMs: ENDLESS_MS,
        detail: `${state} for more than five minutes`,
        isMendedByRestart: true,
      };
    case 'offline':
    case 'stopped':
      return undefined;
  }
}

export function createHealth(deps: {
  readonly clock: Clock;
  readonly state: Judged;
  readonly outbox: Pick<Outbox, 'messages' | 'failure' | 'probe'>;
}): Health {
  const { clock, state, outbox } = deps;
  let suspected: Suspicion | undefined;
  let sinceMs = 0;
  let lateMs = 0;
  /** When a message last left the outbox, in counts. */
  let progress = { settled: 0, connections: 0 };

  const fruitlessConnections = (): number =>
    state.status().counters.connections - progress.connections;

  const noteProgress = (): void => {
    const { published, refused, dropped, connections } = state.status().counters;
    const settled = published + refused + dropped;
    if (settled !== progress.settled || outbox.messages === 0) progress = { settled, connections };
  };

  const look = (): void => {
    const nowMs = clock.elapsedMs();
    const before = suspected;
    noteProgress();
    suspected = suspect(state, outbox.messages, nowMs);
    // Time in which nobody could look proves nothing.
    if (suspected?.mark !== before?.mark || suspected?.kind !== before?.kind) sinceMs = nowMs;
    else sinceMs += lateMs;
    if (outbox.failure !== undefined) outbox.probe();
  };

  return {
    run: async (signal) => {
      while (!signal.aborted) {
        look();
        const lookedAtMs = clock.elapsedMs();
        await clock.sleep(LOOK_MS, signal).catch(() => undefined);
        lateMs = Math.max(0, clock.elapsedMs() - lookedAtMs - LOOK_MS);
      }
    },
    problems: () => {
      const { state: now, detail } = state.status();
      const found: Problem[] = [];
      if (suspected !== undefined && clock.elapsedMs() - sinceMs >= suspected.redAfterMs) {
        const { kind, detail: why, isMendedByRestart } = suspected;
        found.push({ kind, detail: why, isMendedByRestart });
      }
      if (outbox.messages > 0 && fruitlessConnections() >= FRUITLESS_CONNECTIONS) {
        const why = `connected ${fruitlessConnections()} times, and the broker acknowledged none of ${outbox.messages} messages`;
        found.push({ kind: 'broker-silent', detail: why, isMendedByRestart: false });
      }
      if (outbox.failure !== undefined) {
        const why = `the outbox cannot be written: ${outbox.failure}`;
        found.push({ kind: 'outbox-refuses', detail: why, isMendedByRestart: false });
      }
      if (lateMs > BUSY_MS) {
        const why = `the process was busy for ${Math.round(lateMs / 1000)} s without a pause`;
        found.push({ kind: 'busy', detail: why, isMendedByRestart: false });
      }
      if (now === 'stopped' || state.place().retry?.needsOperator) {
        found.push({ kind: 'needs-operator', detail: detail ?? now, isMendedByRestart: false });
      }
      return found;
    },
  };
}
