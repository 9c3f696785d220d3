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

const SLASH = 47;

/** Looks only where the level stands: this runs for each scope of each new token. */
function replaceLevels(filter: string, level: string, by: string): TopicFilter {
  let replaced = '';
  let from = 0;
  for (let at = filter.indexOf(level); at !== -1; at = filter.indexOf(level, at + 1)) {
    const end = at + level.length;
    const isWhole =
      (at === 0 || filter.charCodeAt(at - 1) === SLASH) &&
      (end === filter.length || filter.charCodeAt(end) === SLASH);
    if (!isWhole) continue;
    replaced += filter.slice(from, at) + by;
    from = end;
  }
  return (replaced + filter.slice(from)) as TopicFilter;
}

/** The filter with the mark in place of each level that is `own`. */
export function markOwn(filter: TopicFilter, own: string): TopicFilter {
  return replaceLevels(filter, own, OWN_LEVEL);
}

/** The scope with `own` in place of the marks. */
export function bindOwn(scope: TopicScope, own: string): TopicScope {
  if (!scope.filter.includes(OWN_LEVEL)) return scope;
  return Object.freeze({ ...scope, filter: replaceLevels(scope.filter, OWN_LEVEL, own) });
}
