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
  revoked: ['latchkey_sessions_revoked_total', 'Sessions that the registry ended.'],
};

function head(name: string, type: 'counter' | 'gauge', help: string): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}`;
}

function formatIssuerKeys(keys: ReadonlyMap<string, number>): string {
  const name = 'latchkey_issuer_keys';
  const lines = [...keys].map(([issuer, size]) => `${name}{issuer="${issuer}"} ${size}`);
  return [head(name, 'gauge', 'Keys of an issuer at hand.'), ...lines].join('\n');
}

export function createMetrics(gauges: Gauges): Metrics {
  const counts = new Map<EventName, Map<string, number>>();
  for (const name of Object.keys(COUNTERS) as EventName[]) {
    const hasReason = name.endsWith('-refused') || name === 'banned' || name === 'revoked';
    counts.set(name, new Map(hasReason ? [] : [['', 0]])); // a series is there before it counts
  }

  const formatCounter = (event: EventName): string => {
    const [name, help] = COUNTERS[event];
    const lines = [...(counts.get(event) ?? [])].map(
      ([label, value]) => `${name}${label} ${value}`,
    );
    return [head(name, 'counter', help), ...lines].join('\n');
  };
  const formatValue = (
    name: string,
    type: 'counter' | 'gauge',
    help: string,
    value: number,
  ): string => `${head(name, type, help)}\n${name} ${value}`;

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
        formatValue('latchkey_sessions', 'gauge', 'Sessions now.', gauges.sessions()),
        formatValue(
          'latchkey_known_tokens',
          'gauge',
          'Verified tokens remembered.',
          gauges.knownTokens(),
        ),
        formatIssuerKeys(gauges.issuerKeys()),
        formatValue(
          'process_resident_memory_bytes',
          'gauge',
          'Resident memory size.',
          process.memoryUsage.rss(),
        ),
        formatValue(
          'process_cpu_seconds_total',
          'counter',
          'Processor time used.',
          (user + system) / 1e6,
        ),
        '',
      ].join('\n');
    },
  };
}
