/**
 * What the agent does and did, in the text format that Prometheus reads.
 *
 * The only label is the state, out of our own list: neither topics nor names from outside become series.
 *
 * Units   seconds and bytes as the names say.
 * Errors  none.
 * Source  Prometheus text format 0.0.4; DESIGN 9 (I1, I11).
 *
 * @module
 */
import type { Clock, NumericDate } from '@latchkey/shared';
import { AGENT_STATES, type AgentStatus } from '../state.js';

export const METRICS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

export interface Measured {
  readonly clock: Pick<Clock, 'now'> & {
    readonly isKnown: boolean;
    aheadSeconds(): number;
  };
  readonly status: AgentStatus;
  readonly outbox: {
    readonly messages: number;
    readonly bytes: number;
    /** When the oldest message was accepted, if there is one and the clock was set. */
    readonly oldestAt: NumericDate | undefined;
  };
  /** Programs that listen at the local sockets. */
  readonly subscribers: number;
}

/** Counters that need more words than their names. */
const HELP: Readonly<Record<string, string>> = {
  connections: 'Connections to the broker; all but the first are reconnects.',
  renewals: 'Tokens renewed within a session.',
  published: 'Messages that the broker acknowledged.',
  refused: 'Messages that this device may not publish.',
  dropped: 'Messages that left the outbox without an acknowledgement.',
  received: 'Messages from the broker.',
  delivered: 'Messages handed to programs at the local sockets.',
  droppedDeliveries:
    'Messages that programs at the local sockets missed because they read too slowly.',
};

const snakeCase = (name: string): string => name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
const inWords = (name: string): string => {
  const words = snakeCase(name).replaceAll('_', ' ');
  return `${words.charAt(0).toUpperCase()}${words.slice(1)}.`;
};

function metric(
  name: string,
  type: 'counter' | 'gauge',
  help: string,
  samples: number | readonly (readonly [label: string, value: number])[],
): string {
  const full = `latchkey_agent_${name}`;
  const lines = (typeof samples === 'number' ? ([['', samples]] as const) : samples).map(
    ([label, value]) => `${full}${label} ${value}`,
  );
  return [`# HELP ${full} ${help}`, `# TYPE ${full} ${type}`, ...lines].join('\n');
}

export function formatMetrics({ clock, status, outbox, subscribers }: Measured): string {
  const { state, token, counters } = status;
  const isConnected = state === 'online' || state === 'renewing';
  const age = outbox.oldestAt === undefined ? 0 : Math.max(0, clock.now() - outbox.oldestAt);
  return [
    metric(
      'state',
      'gauge',
      'What the agent does now: 1 for that state, 0 for the others.',
      AGENT_STATES.map((one) => [`{state="${one}"}`, one === state ? 1 : 0]),
    ),
    metric('connected', 'gauge', 'Whether the broker can be reached.', isConnected ? 1 : 0),
    metric('outbox_messages', 'gauge', 'Messages that wait for the broker.', outbox.messages),
    metric('outbox_bytes', 'gauge', 'Topics and payloads that wait for the broker.', outbox.bytes),
    metric('outbox_oldest_age_seconds', 'gauge', 'Age of the oldest message that waits.', age),
    metric('subscribers', 'gauge', 'Programs that listen at the local sockets.', subscribers),
    ...(token === undefined
      ? []
      : [
          metric(
            'token_expires_at_seconds',
            'gauge',
            'When the access token for the broker ends, in seconds since 1970.',
            token.expiresAt,
          ),
        ]),
    ...(clock.isKnown
      ? [
          metric(
            'clock_ahead_seconds',
            'gauge',
            "By how much this machine's clock is ahead of the authority's.",
            clock.aheadSeconds(),
          ),
        ]
      : []),
    ...Object.entries(counters).map(([name, value]) =>
      metric(`${snakeCase(name)}_total`, 'counter', HELP[name] ?? inWords(name), value),
    ),
    metric(
      'process_resident_memory_bytes',
      'gauge',
      'Memory of the agent.',
      process.memoryUsage.rss(),
    ),
  ]
    .join('\n')
    .concat('\n');
}
