/**
 * What programs may do at one socket. The rights of the device bound them all the same.
 *
 * Units   none.
 * Errors  none; pure.
 * Source  DESIGN 9 (I2: what no rule names is refused); MQTT 3.1.1 4.7.
 *
 * @module
 */
import {
  covers,
  matches,
  type ResourceId,
  type TopicFilter,
  type TopicName,
} from '@latchkey/shared';

export interface SocketRules {
  /** Topics that may be published. */
  readonly publish: readonly TopicFilter[];
  /** Filters that cover what may be subscribed to. */
  readonly subscribe: readonly TopicFilter[];
  /** Whom tokens may be asked for. */
  readonly resources: readonly ResourceId[];
  /** Whether the outbox may be listed and emptied. */
  readonly hasOutbox: boolean;
}

/** `undefined` in place of rules: all that the device may. */
export type Rules = SocketRules | undefined;

export function mayPublish(rules: Rules, topic: TopicName): boolean {
  return rules === undefined || rules.publish.some((filter) => matches(filter, topic));
}

/** One rule must cover the whole filter, as with scopes. */
export function maySubscribe(rules: Rules, filter: TopicFilter): boolean {
  return rules === undefined || rules.subscribe.some((granted) => covers(granted, filter));
}

export function mayAskFor(rules: Rules, resource: ResourceId): boolean {
  return rules === undefined || rules.resources.includes(resource);
}

export function mayUseOutbox(rules: Rules): boolean {
  return rules === undefined || rules.hasOutbox;
}
