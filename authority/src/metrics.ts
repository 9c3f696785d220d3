/**
 * What the authority counts, in the text format that Prometheus reads.
 *
 * Labels have few values, none of which a stranger chooses: grants, error codes, routes, statuses.
 *
 * Units   durations in seconds on the wire, `durationMs` in milliseconds.
 * Errors  none.
 * Source  https://prometheus.io/docs/instrumenting/exposition_formats (0.0.4).
 *
 * @module
 */

export interface Metrics {
  /** `grant`: short name of the grant. */
  tokenIssued(grant: string, durationMs: number): void;
  /** `error`: OAuth error code. */
  tokenRefused(error: string): void;
  /** `route`: pattern of the route, never the URL. */
  requestAnswered(request: {
    readonly method: string;
    readonly route: string;
    readonly status: number;
  }): void;
  /** The whole text. */
  format(): string;
}

export const METRICS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** Upper bounds; the p99 that we promise is 5 ms. */
const DURATION_BUCKETS_SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5,
] as const;

type Labels = Readonly<Record<string, string>>;

function formatLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(
    ([name, value]) => `${name}="${value.replace(/[\\"\n]/g, '_')}"`,
  );
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function head(name: string, type: string, help: string): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}`;
}

function createCounter(name: string, help: string) {
  const values = new Map<string, number>();
  return {
    add: (labels: Labels) => {
      const key = formatLabels(labels);
      values.set(key, (values.get(key) ?? 0) + 1);
    },
    format: () =>
      [
        head(name, 'counter', help),
        ...[...values].map(([labels, value]) => `${name}${labels} ${value}`),
      ].join('\n'),
  };
}

function createHistogram(name: string, help: string, bounds: readonly number[]) {
  const counts = bounds.map(() => 0);
  let sum = 0;
  let count = 0;
  return {
    observe: (seconds: number) => {
      sum += seconds;
      count += 1;
      bounds.forEach((bound, i) => {
        if (seconds <= bound) counts[i] = (counts[i] ?? 0) + 1;
      });
    },
    format: () =>
      [
        head(name, 'histogram', help),
        ...bounds.map((bound, i) => `${name}_bucket{le="${bound}"} ${counts[i]}`),
        `${name}_bucket{le="+Inf"} ${count}`,
        `${name}_sum ${sum}`,
        `${name}_count ${count}`,
      ].join('\n'),
  };
}

export function createMetrics(): Metrics {
  const issued = createCounter('latchkey_tokens_issued_total', 'Access tokens issued.');
  const refused = createCounter('latchkey_tokens_refused_total', 'Token requests refused.');
  const requests = createCounter('latchkey_http_requests_total', 'HTTP requests answered.');
  const duration = createHistogram(
    'latchkey_token_duration_seconds',
    'Time from the arrival of a token request to the token.',
    DURATION_BUCKETS_SECONDS,
  );
  return {
    tokenIssued: (grant, durationMs) => {
      issued.add({ grant });
      duration.observe(durationMs / 1000);
    },
    tokenRefused: (error) => refused.add({ error }),
    requestAnswered: ({ method, route, status }) =>
      requests.add({ method, route, status: String(status) }),
    format: () =>
      [
        issued.format(),
        refused.format(),
        requests.format(),
        duration.format(),
        head('process_resident_memory_bytes', 'gauge', 'Resident memory size.'),
        `process_resident_memory_bytes ${process.memoryUsage.rss()}`,
        head('process_cpu_seconds_total', 'counter', 'Processor time used.'),
        `process_cpu_seconds_total ${(process.cpuUsage().user + process.cpuUsage().system) / 1e6}`,
        '',
      ].join('\n'),
  };
}
