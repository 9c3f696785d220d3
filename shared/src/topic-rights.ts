/**
 * Topic scopes compiled for deciding: what a session may publish, subscribe to and receive.
 *
 * Units   `qos`: 0 to 2.
 * Errors  none: whatever the input, the answer is a decision, and what is not understood is denied.
 * Source  DESIGN 4 (one entry must cover the request), 9 (I2, I12); MQTT 3.1.1 4.7.
 *
 * @module
 */
import {
  type Allowed,
  buildRightsTree,
  findEntry,
  nearestEntry,
  type RightsNode,
} from './rights-tree.js';
import { formatTopicScope, type TopicScope } from './scope.js';
import { topicFilterProblem, topicNameProblem, withShortestLevels } from './topic.js';

export type TopicRequest =
  | {
      readonly action: 'publish';
      readonly topic: string;
      readonly qos: number;
      readonly retain: boolean;
    }
  | { readonly action: 'subscribe'; readonly topic: string; readonly qos: number }
  /** A message about to be delivered to the client. */
  | { readonly action: 'receive'; readonly topic: string };

export type DenialReason = 'topic-invalid' | 'no-scope' | 'qos-too-high' | 'retain-not-allowed';

export interface Denied {
  readonly allowed: false;
  readonly reason: DenialReason;
  /** For a person: what was wrong, with no value from the wire in it. */
  readonly detail: string;
  /** The entry that comes closest, when there is one of that action. */
  readonly nearest: TopicScope | undefined;
}
export type Decision = Allowed | Denied;

/** Immutable result of `compileTopicRights`. */
export interface TopicRights {
  /** The scopes it was made from. */
  readonly scopes: readonly TopicScope[];
  /** @internal */
  readonly publish: RightsNode;
  /** @internal */
  readonly subscribe: RightsNode;
}

/** Compiles scopes for `decide`. Freezes nothing of the caller's. */
export function compileTopicRights(scopes: readonly TopicScope[]): TopicRights {
  const entries = scopes.map((scope): Allowed => Object.freeze({ allowed: true, scope }));
  return Object.freeze({
    scopes: Object.freeze([...scopes]),
    publish: buildRightsTree(entries.filter(({ scope }) => scope.action !== 'sub')),
    subscribe: buildRightsTree(entries.filter(({ scope }) => scope.action !== 'pub')),
  });
}

function deny(reason: DenialReason, detail: string, nearest?: TopicScope): Denied {
  return { allowed: false, reason, detail, nearest };
}

/**
 * Says what is missing. Asks the tree that decided, so it cannot disagree with the decision, and
 * costs no more with many scopes than with few: strangers choose how often it runs.
 */
function explainDenial(root: RightsNode, topic: string, qos: number, retain: boolean): Denied {
  const covering = qos > 0 || retain ? findEntry(root, topic, 0, false)?.scope : undefined;
  if (covering !== undefined) {
    const unretained = retain ? findEntry(root, topic, qos, false)?.scope : undefined;
    return unretained === undefined
      ? deny(
          'qos-too-high',
          `${formatTopicScope(covering)} allows at most QoS ${covering.maxQos}`,
          covering,
        )
      : deny(
          'retain-not-allowed',
          `${formatTopicScope(unretained)} forbids retained messages`,
          unretained,
        );
  }
  const nearest = nearestEntry(root, topic)?.scope;
  if (nearest === undefined) return deny('no-scope', 'no scope has this action');
  const detail = `no scope covers the topic; the nearest is ${formatTopicScope(nearest)}`;
  return deny('no-scope', detail, nearest);
}

/**
 * Decides one request. Total: malformed topics, an unknown action and a QoS outside 0 to 2 are
 * denied. An `Allowed` is the compiled entry itself, so allowing allocates nothing.
 */
export function decide(rights: TopicRights, request: TopicRequest): Decision {
  const { action, topic } = request;
  const isPublish = action === 'publish';
  const isSubscribe = action === 'subscribe';
  if (!isPublish && !isSubscribe && action !== 'receive') {
    return deny('no-scope', 'the action is not known');
  }
  const problem = isSubscribe ? topicFilterProblem(topic) : topicNameProblem(topic);
  if (problem !== undefined) return deny('topic-invalid', `the topic ${problem}`);
  const qos = action === 'receive' ? 0 : request.qos;
  if (qos !== 0 && qos !== 1 && qos !== 2) return deny('qos-too-high', 'the QoS is not 0, 1 or 2');
  const retain = isPublish && request.retain;
  const path = isSubscribe ? withShortestLevels(topic) : topic;
  const root = isPublish ? rights.publish : rights.subscribe;
  return findEntry(root, path, qos, retain) ?? explainDenial(root, path, qos, retain);
}

/**
 * Whether these rights allow all that the scope would: one entry for each of its actions, as for
 * one request. Costs time by the depth of its filter.
 */
export function rightsCover(rights: TopicRights, scope: TopicScope): boolean {
  const { action, maxQos, isRetainAllowed } = scope;
  const path = withShortestLevels(scope.filter);
  return (
    (action === 'sub' || findEntry(rights.publish, path, maxQos, isRetainAllowed) !== undefined) &&
    (action === 'pub' || findEntry(rights.subscribe, path, maxQos, false) !== undefined)
  );
}
