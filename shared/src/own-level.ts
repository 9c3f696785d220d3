/**
 * A level that stands for the client itself, so that devices with rights of one template share one
 * compiled form: `devices/t-1/#` of `t-1` and `devices/t-2/#` of `t-2` are the same to both.
 *
 * Only whole levels are replaced, and no topic can hold the mark, so a filter and its client say the
 * same with the mark as without.
 *
 * Units   none.
 * Errors  none.
 * Source  MQTT 3.1.1 1.5.3 ([MQTT-1.5.3-2]: no topic has U+0000).
 *
 * @module
 */
import type { TopicScope } from './scope.js';
import type { TopicFilter } from './topic.js';

/** The level in place of the client's id. As `own` itself it stands for nobody: no topic has it. */
export const OWN_LEVEL = '\u0000';

const replaceLevels = (filter: string, level: string, by: string): TopicFilter =>
  filter
    .split('/')
    .map((one) => (one === level ? by : one))
    .join('/') as TopicFilter;

/** The filter with the mark in place of each level that is `own`. */
export function markOwn(filter: TopicFilter, own: string): TopicFilter {
  return filter.includes(own) ? replaceLevels(filter, own, OWN_LEVEL) : filter;
}

/** The scope with `own` in place of the marks. */
export function bindOwn(scope: TopicScope, own: string): TopicScope {
  if (!scope.filter.includes(OWN_LEVEL)) return scope;
  return Object.freeze({ ...scope, filter: replaceLevels(scope.filter, OWN_LEVEL, own) });
}
