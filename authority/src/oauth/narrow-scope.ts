/**
 * The part of a requested topic scope that a client's rights allow.
 *
 * Units   none.
 * Errors  none.
 * Source  RFC 6749 3.3 (a server may ignore part of the scope requested); DESIGN 4.
 *
 * @module
 */
import {
  covers,
  type Qos,
  scopeCovers,
  type TopicAction,
  type TopicFilter,
  type TopicScope,
} from '@latchkey/shared';

function commonAction(one: TopicAction, other: TopicAction): TopicAction | undefined {
  if (one === other || other === 'pubsub') return one;
  return one === 'pubsub' ? other : undefined;
}

/** The narrower of two filters. Two that only overlap have no filter in common that we could write. */
function commonFilter(one: TopicFilter, other: TopicFilter): TopicFilter | undefined {
  if (covers(one, other)) return other;
  return covers(other, one) ? one : undefined;
}

function common(own: TopicScope, requested: TopicScope): readonly TopicScope[] {
  const action = commonAction(own.action, requested.action);
  const filter = commonFilter(own.filter, requested.filter);
  if (action === undefined || filter === undefined) return [];
  const maxQos = Math.min(own.maxQos, requested.maxQos) as Qos;
  const isRetainAllowed = own.isRetainAllowed && requested.isRetainAllowed;
  return [{ action, filter, maxQos, isRetainAllowed }];
}

/** Nothing that comes out is wider than `requested`, nor than some entry of `own`. */
export function narrowTopicScope(
  own: readonly TopicScope[],
  requested: TopicScope,
): readonly TopicScope[] {
  if (scopeCovers(own, requested)) return [requested];
  return own.flatMap((entry) => common(entry, requested));
}
