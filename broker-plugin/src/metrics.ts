/**
 * What the plugin counts, in the text format that Prometheus reads.
 *
 * Labels have few values, none of which a client chooses: reasons out of our own lists.
 *
 * Units   seconds and bytes as the names say.
 * Errors  none.
 * Source  Prometheus text format 0.0.4; DESIGN 9 (I1, I11).
 *
 * @module
 */
import type { Count, EventName } from './notices.js';

export interface Metrics {
  readonly count: Count;
  /** The whole text. */
  format(): string;
}

export const METRICS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** Right now: read when the text is asked for. */
export interface Gauges {
  readonly sessions: () => number;
  readonly knownTokens: () => number;
  /** By issuer. */
  readonly issuerKeys: () => ReadonlyMap<string, number>;
}

const COUNTERS: Readonly<Record<EventName, readonly [name: string, help: string]>> = {
  connect: ['latchkey_connections_accepted_total', 'Connections accepted.'],
  'connect-refused': ['latchkey_connections_refused_total', 'Connections refused.'],
  banned: ['latchkey_bans_total', 'Bans after too many refused connections.'],
  'publish-refused': ['latchkey_publications_refused_total', 'Publications refused.'],
  'subscribe-refused': ['latchkey_subscriptions_refused_total', 'Topic filters refused.'],
  renewed: ['latchkey_sessions_renewed_total', 'Sessions renewed.'],
  'renew-refused': ['latchkey_renewals_refused_total', 'Renewals refused.'],
  expired: ['latchkey_sessions_expired_total', 'Sessions that ended with their token.'],
  'message-dropped': [
    'latchkey_messages_dropped_total',
    'Messages dropped because as many waited for the client as may.',
  ],
  revoked: ['latchkey_sessions_revoked_total', 'Sessions that the registry ended.'],
};

function head(name: string, type: 'counter' | 'gauge', help: string): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}`;
}

type Samples = readonly (readonly [label: string, value: number])[];

/** One metric in the text format, without a line end behind it. */
export function formatMetric(
  name: string,
  type: 'counter' | 'gauge',
  help: string,
  value: number | Samples,
): string {
  const samples: Samples = typeof value === 'number' ? [['', value]] : value;
  const lines = samples.map(
    ([label, sample]) => `${name}${label} ${sample === Number.POSITIVE_INFINITY ? '+Inf' : sample}`,
  );
  return [head(name, type, help), ...lines].join('\n');
}

/** `formatMore` gives the metrics of other parts, one text each. */
export function createMetrics(
  gauges: Gauges,
  formatMore: () => readonly string[] = () => [],
): Metrics {
  const counts = new Map<EventName, Map<string, number>>();
  for (const name of Object.keys(COUNTERS) as EventName[]) {
    const hasReason = name.endsWith('-refused') || name === 'banned' || name === 'revoked';
    counts.set(name, new Map(hasReason ? [] : [['', 0]])); // a series is there before it counts
  }

  const formatCounter = (event: EventName): string => {
    const [name, help] = COUNTERS[event];
    return formatMetric(name, 'counter', help, [...(counts.get(event) ?? [])]);
  };
  return {
    count: (event, reason) => {
      const values = counts.get(event);
      const label = reason === undefined ? '' : `{reason="${reason}"}`;
      values?.set(label, (values.get(label) ?? 0) + 1);
    },
    format: () => {
      const { user, system } = process.cpuUsage();
      return [
        ...[...counts.keys()].map(formatCounter),
        formatMetric('latchkey_sessions', 'gauge', 'Sessions now.', gauges.sessions()),
        formatMetric(
          'latchkey_known_tokens',
          'gauge',
          'Verified tokens remembered.',
          gauges.knownTokens(),
        ),
        formatMetric(
          'latchkey_issuer_keys',
          'gauge',
          'Keys of an issuer at hand.',
          [...gauges.issuerKeys()].map(([issuer, size]) => [`{issuer="${issuer}"}`, size] as const),
        ),
        formatMetric(
          'process_resident_memory_bytes',
          'gauge',
          'Resident memory size.',
          process.memoryUsage.rss(),
        ),
        formatMetric(
          'process_cpu_seconds_total',
          'counter',
          'Processor time used.',
          (user + system) / 1e6,
        ),
        ...formatMore(),
        '',
      ].join('\n');
    },
  };
}
