/**
 * Topic scopes compiled for deciding: what a session may publish, subscribe to and receive.
 *
 * The scopes become two prefix trees, one for publishing, one for subscribing. A run of literal
 * levels is one edge that is compared as text, so a decision splits nothing, allocates nothing when
 * it allows, and costs time by the depth of the topic rather than by the number of scopes.
 *
 * Units   `qos`: 0 to 2.
 * Errors  none: whatever the input, the answer is a decision, and what is not understood is denied.
 * Source  DESIGN 4 (one entry must cover the request), 9 (I2, I12); MQTT 3.1.1 4.7.
 *
 * @module
 */
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

export interface Allowed {
  readonly allowed: true;
  /** The one entry that covers the request. */
  readonly scope: TopicScope;
}
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

/** Node of a prefix tree; `label` is the run of literal levels that leads to it. */
export interface RightsNode {
  readonly label: string;
  readonly literals: readonly RightsNode[];
  /** Literal children by their first level, made only when there are many. */
  readonly byLevel: ReadonlyMap<string, RightsNode> | undefined;
  readonly plus: RightsNode | undefined;
  /** Entries that end here. */
  readonly exact: readonly Allowed[];
  /** Entries that end in `#` here. */
  readonly hash: readonly Allowed[];
}

/** Above this, a Map finds the child sooner than comparing one by one. */
const MANY_CHILDREN = 6;
const SLASH = 47;
const HASH = 35;
const DOLLAR = 36;

interface Draft {
  readonly literals: Map<string, Draft>;
  plus: Draft | undefined;
  readonly exact: Allowed[];
  readonly hash: Allowed[];
}

const newDraft = (): Draft => ({ literals: new Map(), plus: undefined, exact: [], hash: [] });

function insert(root: Draft, entry: Allowed): void {
  let node = root;
  for (const level of entry.scope.filter.split('/')) {
    if (level === '#') {
      node.hash.push(entry);
      return;
    }
    if (level === '+') {
      node.plus ??= newDraft();
      node = node.plus;
    } else {
      let next = node.literals.get(level);
      if (next === undefined) {
        next = newDraft();
        node.literals.set(level, next);
      }
      node = next;
    }
  }
  node.exact.push(entry);
}

/**
 * Merges runs of literal levels. The root, a `+` node and an empty level have the label `''` and
 * are never merged with what follows, so that the label always says how many levels it stands for.
 */
function freeze(draft: Draft, label: string): RightsNode {
  const isLink =
    draft.literals.size === 1 && !draft.plus && draft.exact.length + draft.hash.length === 0;
  if (isLink && label !== '') {
    const [[level, next]] = [...draft.literals] as [[string, Draft]];
    return freeze(next, `${label}/${level}`);
  }
  const children = [...draft.literals].map(([level, next]): [string, RightsNode] => [
    level,
    freeze(next, level),
  ]);
  return Object.freeze({
    label,
    literals: Object.freeze(children.map(([, node]) => node)),
    byLevel: children.length > MANY_CHILDREN ? new Map(children) : undefined,
    plus: draft.plus && freeze(draft.plus, ''),
    exact: Object.freeze(draft.exact),
    hash: Object.freeze(draft.hash),
  });
}

/** Compiles scopes for `decide`. Freezes nothing of the caller's. */
export function compileTopicRights(scopes: readonly TopicScope[]): TopicRights {
  const publish = newDraft();
  const subscribe = newDraft();
  for (const scope of scopes) {
    const entry: Allowed = Object.freeze({ allowed: true, scope });
    if (scope.action !== 'sub') insert(publish, entry);
    if (scope.action !== 'pub') insert(subscribe, entry);
  }
  return Object.freeze({
    scopes: Object.freeze([...scopes]),
    publish: freeze(publish, ''),
    subscribe: freeze(subscribe, ''),
  });
}

function pick(entries: readonly Allowed[], qos: number, retain: boolean): Allowed | undefined {
  for (const entry of entries) {
    if (entry.scope.maxQos >= qos && (entry.scope.isRetainAllowed || !retain)) return entry;
  }
  return undefined;
}

/** Goes down to a literal child when the topic goes on with the child's label at `at`. */
function follow(
  child: RightsNode | undefined,
  topic: string,
  at: number,
  qos: number,
  retain: boolean,
): Allowed | undefined {
  if (child === undefined || !topic.startsWith(child.label, at)) return undefined;
  const end = at + child.label.length;
  if (end !== topic.length && topic.charCodeAt(end) !== SLASH) return undefined;
  return find(child, topic, end + 1, qos, retain);
}

/**
 * Finds an entry below `node` that covers the topic from `at` on. `at` is where the next level
 * begins, and `topic.length + 1` when all levels are consumed.
 */
function find(
  node: RightsNode,
  topic: string,
  at: number,
  qos: number,
  retain: boolean,
): Allowed | undefined {
  if (at > topic.length) return pick(node.exact, qos, retain) ?? pick(node.hash, qos, retain);
  // [MQTT-4.7.2-1] a leading wildcard does not match a topic that begins with $
  const isHidden = at === 0 && topic.charCodeAt(0) === DOLLAR;
  let found = isHidden ? undefined : pick(node.hash, qos, retain);
  if (node.byLevel !== undefined) {
    const slash = topic.indexOf('/', at);
    const level = topic.slice(at, slash === -1 ? undefined : slash);
    found ??= follow(node.byLevel.get(level), topic, at, qos, retain);
  } else {
    for (let i = 0; found === undefined && i < node.literals.length; i += 1) {
      found = follow(node.literals[i], topic, at, qos, retain);
    }
  }
  if (
    found === undefined &&
    node.plus !== undefined &&
    !isHidden &&
    topic.charCodeAt(at) !== HASH
  ) {
    const slash = topic.indexOf('/', at);
    found = find(node.plus, topic, (slash === -1 ? topic.length : slash) + 1, qos, retain);
  }
  return found;
}

/** How many leading levels of a filter the topic shares; a wildcard shares with anything. */
function sharedLevels(filter: string, topic: string): number {
  const s = filter.split('/');
  const q = topic.split('/');
  let shared = 0;
  while (shared < q.length && (s[shared] === '+' || s[shared] === q[shared])) shared += 1;
  return shared;
}

function nearestScope(
  rights: TopicRights,
  isPublish: boolean,
  topic: string,
): TopicScope | undefined {
  let best: TopicScope | undefined;
  let most = -1;
  for (const scope of rights.scopes) {
    if (scope.action === (isPublish ? 'sub' : 'pub')) continue;
    const shared = sharedLevels(scope.filter, topic);
    if (shared > most) {
      most = shared;
      best = scope;
    }
  }
  return best;
}

function deny(reason: DenialReason, detail: string, nearest: TopicScope | undefined): Denied {
  return { allowed: false, reason, detail, nearest };
}

function explainDenial(
  rights: TopicRights,
  isPublish: boolean,
  topic: string,
  qos: number,
  retain: boolean,
): Denied {
  const root = isPublish ? rights.publish : rights.subscribe;
  const withoutRetain = retain ? find(root, topic, 0, qos, false) : undefined;
  if (withoutRetain !== undefined) {
    const { scope } = withoutRetain;
    return deny(
      'retain-not-allowed',
      `${formatTopicScope(scope)} forbids retained messages`,
      scope,
    );
  }
  const withoutQos = find(root, topic, 0, 0, false);
  if (withoutQos !== undefined) {
    const { scope } = withoutQos;
    return deny(
      'qos-too-high',
      `${formatTopicScope(scope)} allows at most QoS ${scope.maxQos}`,
      scope,
    );
  }
  const nearest = nearestScope(rights, isPublish, topic);
  const verb = isPublish ? 'publishing' : 'subscribing';
  return deny(
    'no-scope',
    nearest === undefined
      ? `no scope for ${verb}`
      : `no scope covers the topic; the nearest is ${formatTopicScope(nearest)}`,
    nearest,
  );
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
    return deny('no-scope', 'the action is not known', undefined);
  }
  const problem = isSubscribe ? topicFilterProblem(topic) : topicNameProblem(topic);
  if (problem !== undefined) return deny('topic-invalid', `the topic ${problem}`, undefined);
  const qos = action === 'receive' ? 0 : request.qos;
  if (qos !== 0 && qos !== 1 && qos !== 2) {
    return deny('qos-too-high', 'the QoS is not 0, 1 or 2', undefined);
  }
  const retain = isPublish && request.retain;
  const path = isSubscribe ? withShortestLevels(topic) : topic;
  const root = isPublish ? rights.publish : rights.subscribe;
  return find(root, path, 0, qos, retain) ?? explainDenial(rights, isPublish, path, qos, retain);
}
