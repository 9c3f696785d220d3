/**
 * The prefix tree behind `decide`: entries by the levels of their filters.
 *
 * A run of literal levels is one edge that is compared as text, so a search splits nothing, allocates
 * nothing, and costs time by the depth of the topic rather than by the number of entries. The mark of
 * `own-level.ts` in a filter is a literal level that is compared with `own`.
 *
 * Units   `qos`: 0 to 2; depths in levels.
 * Errors  none.
 * Source  MQTT 3.1.1 4.7, 4.7.2.
 *
 * @module
 */
import { OWN_LEVEL } from './own-level.js';
import type { TopicScope } from './scope.js';

/** An entry of the tree, and at once the decision that it gives. */
export interface Allowed {
  readonly allowed: true;
  /** The one entry that covers the request. */
  readonly scope: TopicScope;
}

/** Node of a prefix tree; `label` is the run of literal levels that leads to it. */
export interface RightsNode {
  readonly label: string;
  /** The label around each mark of the own level; `undefined` when it has none. */
  readonly around: readonly string[] | undefined;
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
    around: label.includes(OWN_LEVEL) ? Object.freeze(label.split(OWN_LEVEL)) : undefined,
    literals: Object.freeze(children.map(([, node]) => node)),
    byLevel: children.length > MANY_CHILDREN ? new Map(children) : undefined,
    plus: draft.plus && freeze(draft.plus, ''),
    exact: Object.freeze(draft.exact),
    hash: Object.freeze(draft.hash),
  });
}

/** Builds the tree and returns its root. */
export function buildRightsTree(entries: readonly Allowed[]): RightsNode {
  const root = newDraft();
  for (const entry of entries) insert(root, entry);
  return freeze(root, '');
}

function pick(entries: readonly Allowed[], qos: number, retain: boolean): Allowed | undefined {
  for (const entry of entries) {
    if (entry.scope.maxQos >= qos && (entry.scope.isRetainAllowed || !retain)) return entry;
  }
  return undefined;
}

/** Where the label ends in the topic when the topic goes on with it at `at`, else -1. */
function labelEnd({ label, around }: RightsNode, topic: string, at: number, own: string): number {
  if (around === undefined) return topic.startsWith(label, at) ? at + label.length : -1;
  let end = at;
  for (let i = 0; i < around.length; i += 1) {
    if (i > 0) {
      if (!topic.startsWith(own, end)) return -1;
      end += own.length;
    }
    const part = around[i] as string;
    if (!topic.startsWith(part, end)) return -1;
    end += part.length;
  }
  return end;
}

/** The child that begins with that level. */
function childAt(
  byLevel: ReadonlyMap<string, RightsNode>,
  topic: string,
  at: number,
  own: string,
): RightsNode | undefined {
  const slash = topic.indexOf('/', at);
  const level = topic.slice(at, slash === -1 ? undefined : slash);
  return byLevel.get(level === own ? OWN_LEVEL : level);
}

/** Goes down to a literal child when the topic goes on with the child's label at `at`. */
function follow(
  child: RightsNode | undefined,
  topic: string,
  at: number,
  qos: number,
  retain: boolean,
  own: string,
): Allowed | undefined {
  if (child === undefined) return undefined;
  const end = labelEnd(child, topic, at, own);
  if (end === -1 || (end !== topic.length && topic.charCodeAt(end) !== SLASH)) return undefined;
  return find(child, topic, end + 1, qos, retain, own);
}

/** `at` is where the next level begins, and `topic.length + 1` when all levels are consumed. */
function find(
  node: RightsNode,
  topic: string,
  at: number,
  qos: number,
  retain: boolean,
  own: string,
): Allowed | undefined {
  if (at > topic.length) return pick(node.exact, qos, retain) ?? pick(node.hash, qos, retain);
  // [MQTT-4.7.2-1] a leading wildcard does not match a topic that begins with $
  const isHidden = at === 0 && topic.charCodeAt(0) === DOLLAR;
  let found = isHidden ? undefined : pick(node.hash, qos, retain);
  if (node.byLevel !== undefined) {
    found ??= follow(childAt(node.byLevel, topic, at, own), topic, at, qos, retain, own);
  } else {
    for (let i = 0; found === undefined && i < node.literals.length; i += 1) {
      found = follow(node.literals[i], topic, at, qos, retain, own);
    }
  }
  if (
    found === undefined &&
    node.plus !== undefined &&
    !isHidden &&
    topic.charCodeAt(at) !== HASH
  ) {
    const slash = topic.indexOf('/', at);
    found = find(node.plus, topic, (slash === -1 ? topic.length : slash) + 1, qos, retain, own);
  }
  return found;
}

/** Finds an entry that covers the whole topic and allows this QoS and retain flag. */
export function findEntry(
  root: RightsNode,
  topic: string,
  qos: number,
  retain: boolean,
  own: string,
): Allowed | undefined {
  return find(root, topic, 0, qos, retain, own);
}

interface Approach {
  node: RightsNode;
  depth: number;
}

/** Literal children that can share the level at `at`. */
function literalsAt(
  node: RightsNode,
  topic: string,
  at: number,
  own: string,
): readonly RightsNode[] {
  if (node.byLevel === undefined) return node.literals;
  const child = childAt(node.byLevel, topic, at, own);
  return child === undefined ? [] : [child];
}

const endsLevel = (text: string, at: number): boolean =>
  at === text.length || text.charCodeAt(at) === SLASH;

/** Keeps in `best` the node that the topic leads to, or into, after most levels. */
function approach(
  node: RightsNode,
  topic: string,
  at: number,
  depth: number,
  own: string,
  best: Approach,
): void {
  if (depth > best.depth) [best.node, best.depth] = [node, depth];
  if (at > topic.length) return;
  for (const child of literalsAt(node, topic, at, own)) {
    const label = child.around?.join(own) ?? child.label;
    let shared = 0;
    let same = 0;
    while (same < label.length && label.charCodeAt(same) === topic.charCodeAt(at + same)) {
      if (label.charCodeAt(same) === SLASH) shared += 1;
      same += 1;
    }
    if (endsLevel(label, same) && endsLevel(topic, at + same)) shared += 1;
    if (same === label.length && endsLevel(topic, at + same)) {
      approach(child, topic, at + same + 1, depth + shared, own, best);
    } else if (depth + shared > best.depth) {
      [best.node, best.depth] = [child, depth + shared];
    }
  }
  if (node.plus !== undefined) {
    const slash = topic.indexOf('/', at);
    approach(node.plus, topic, (slash === -1 ? topic.length : slash) + 1, depth + 1, own, best);
  }
}

/** An entry that shares most leading levels with the topic; `+` shares with any level. */
export function nearestEntry(root: RightsNode, topic: string, own: string): Allowed | undefined {
  const best: Approach = { node: root, depth: 0 };
  approach(root, topic, 0, 0, own, best);
  let node: RightsNode | undefined = best.node;
  let entry: Allowed | undefined;
  while (node !== undefined && entry === undefined) {
    entry = node.exact[0] ?? node.hash[0];
    node = node.literals[0] ?? node.plus;
  }
  return entry;
}
