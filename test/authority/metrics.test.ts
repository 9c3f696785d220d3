/** The text that Prometheus reads. */
import { createMetrics } from '@latchkey/authority';
import { expect, test } from 'vitest';

const sample = (text: string, name: string) =>
  text
    .split('\n')
    .filter((line) => line.startsWith(name))
    .map((line) => line.slice(name.length));

test('a duration counts in its bucket and in all wider ones; a bound belongs to its bucket', () => {
  const metrics = createMetrics();
  for (const durationMs of [0.4, 5, 5.1, 20, 6000]) metrics.tokenIssued('g', durationMs);
  const text = metrics.format();
  expect(sample(text, 'latchkey_token_duration_seconds_bucket')).toEqual([
    '{le="0.001"} 1',
    '{le="0.0025"} 1',
    '{le="0.005"} 2',
    '{le="0.01"} 3',
    '{le="0.025"} 4',
    '{le="0.05"} 4',
    '{le="0.1"} 4',
    '{le="0.25"} 4',
    '{le="1"} 4',
    '{le="5"} 4',
    '{le="+Inf"} 5',
  ]);
  expect(sample(text, 'latchkey_token_duration_seconds_count')).toEqual([' 5']);
  const [sum] = sample(text, 'latchkey_token_duration_seconds_sum');
  expect(Number(sum)).toBeCloseTo(6.0305, 9);
});

test('counters stand once for each set of labels', () => {
  const metrics = createMetrics();
  const request = { method: 'GET', route: '/x', status: 200 };
  metrics.requestAnswered(request);
  metrics.requestAnswered(request);
  metrics.requestAnswered({ ...request, status: 404 });
  metrics.tokenRefused('invalid_grant');
  expect(sample(metrics.format(), 'latchkey_http_requests_total')).toEqual([
    '{method="GET",route="/x",status="200"} 2',
    '{method="GET",route="/x",status="404"} 1',
  ]);
  expect(sample(metrics.format(), 'latchkey_tokens_refused_total')).toEqual([
    '{error="invalid_grant"} 1',
  ]);
});

test('a label value cannot break out of its quotes', () => {
  const metrics = createMetrics();
  metrics.tokenRefused('a"} 1\nevil{b="\\');
  expect(sample(metrics.format(), 'evil')).toEqual([]);
  expect(sample(metrics.format(), 'latchkey_tokens_refused_total')).toHaveLength(1);
});

test('every name is declared once, and the text ends with a line end', () => {
  const text = createMetrics().format();
  const types = text.split('\n').filter((line) => line.startsWith('# TYPE '));
  expect(new Set(types).size).toBe(types.length);
  expect(text.endsWith('\n')).toBe(true);
});
