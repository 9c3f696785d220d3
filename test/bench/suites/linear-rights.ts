/**
 * What most people would write: a loop over scopes whose levels were split once. It gives the same
 * answers as `decide`, a test says, but neither a reason nor the scope.
 *
 * @module
 */
import type { TopicScope } from '@latchkey/shared';

export interface LinearRights {
  allowsPublish(topic: string, qos: number, retain: boolean): boolean;
  allowsSubscribe(filter: string, qos: number): boolean;
}

interface Entry {
  readonly levels: readonly string[];
  readonly maxQos: number;
  readonly isRetainAllowed: boolean;
}

const NAME = /^[^+#\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}\uFFFD]+$/u;
const FILTER =
  /^(?:\+|[^+#/\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}\uFFFD]*)(?:\/(?:\+|[^+#/\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}\uFFFD]*))*(?:\/#)?$|^#$/u;
const MAX_LEVELS = 100;

function covers(granted: readonly string[], requested: readonly string[]): boolean {
  for (let i = 0; ; i += 1) {
    const level = granted[i];
    if (level === '#') return true;
    if (i === granted.length) return i === requested.length;
    if (i === requested.length || requested[i] === '#') return false;
    if (level !== '+' && level !== requested[i]) return false;
  }
}

function isAllowed(
  entries: readonly Entry[],
  requested: readonly string[],
  qos: number,
  retain: boolean,
): boolean {
  if (requested.length > MAX_LEVELS) return false;
  const isHidden = requested[0]?.startsWith('$') === true;
  for (const { levels, maxQos, isRetainAllowed } of entries) {
    if (maxQos < qos || (retain && !isRetainAllowed)) continue;
    if (isHidden && (levels[0] === '+' || levels[0] === '#')) continue;
    if (covers(levels, requested)) return true;
  }
  return false;
}

export function linearRights(scopes: readonly TopicScope[]): LinearRights {
  const entriesOf = (other: 'pub' | 'sub') =>
    scopes
      .filter(({ action }) => action !== other)
      .map(
        ({ filter, maxQos, isRetainAllowed }): Entry => ({
          levels: filter.split('/'),
          maxQos,
          isRetainAllowed,
        }),
      );
  const [publish, subscribe] = [entriesOf('sub'), entriesOf('pub')];
  return {
    allowsPublish: (topic, qos, retain) =>
      NAME.test(topic) && isAllowed(publish, topic.split('/'), qos, retain),
    allowsSubscribe: (filter, qos) => {
      if (!FILTER.test(filter) || filter === '') return false;
      const shortest = filter === '#' ? '+/#' : filter === '/#' ? '/+/#' : filter;
      return isAllowed(subscribe, shortest.split('/'), qos, false);
    },
  };
}
