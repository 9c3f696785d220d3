/**
 * Topic scopes compiled for deciding: what a session may publish, subscribe to and receive.
 *
 * Units   `qos`: 0 to 2.
 * Errors  none: whatever the input, the answer is a decision, and what is not understood is denied.
 * Source  DESIGN 4 (one entry must cover the request), 9 (I2, I12); MQTT 3.1.1 4.7.
 *
 * @module
 */
import type { ClientId } from './ids.js';
import { bindOwn, markOwn, OWN_LEVEL } from './own-level.js';
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

/** Compiled scopes, which the rights of several clients may share. */
interface CompiledScopes {
  readonly scopes: readonly TopicScope[];
  readonly publish: RightsNode;
  readonly subscribe: RightsNode;
}

/** The request that was allowed last: most devices send to one topic, again and again. */
interface LastAllowed {
  readonly topic: string;
  readonly qos: number;
  readonly retain: boolean;
  readonly entry: Allowed;
}

/** What was allowed before. Only saves time: rights never change. */
interface Memory {
  /** By the entry in which the own level is only marked. */
  bound: Map<Allowed, Allowed> | undefined;
  publication: LastAllowed | undefined;
  delivery: LastAllowed | undefined;
}

const newMemory = (): Memory => ({ bound: undefined, publication: undefined, delivery: undefined });

/** Longer topics are not remembered; the bound is on memory. */
const MAX_REMEMBERED_LENGTH = 256;

/** Immutable result of `compileTopicRights` and of `bindTopicRights`. */
export interface TopicRights {
  /** @internal */
  readonly compiled: CompiledScopes;
  /** @internal The level that the marks of the own level stand for. */
  readonly own: string;
  /** @internal Filled when the client first uses its rights. */
  readonly memory: Memory;
}

/** Compiled scopes in which the own level of some client is only marked. */
export type TopicRightsTemplate = CompiledScopes;

function compile(scopes: readonly TopicScope[]): CompiledScopes {
  const entries = scopes.map((scope): Allowed => Object.freeze({ allowed: true, scope }));
  return Object.freeze({
    scopes: Object.freeze([...scopes]),
    publish: buildRightsTree(entries.filter(({ scope }) => scope.action !== 'sub')),
    subscribe: buildRightsTree(entries.filter(({ scope }) => scope.action !== 'pub')),
  });
}

/** Compiles scopes for `decide`. Freezes nothing of the caller's. */
export function compileTopicRights(scopes: readonly TopicScope[]): TopicRights {
  return Object.freeze({ compiled: compile(scopes), own: OWN_LEVEL, memory: newMemory() });
}

/**
 * Text that two clients share exactly when the scopes of one are those of the other with the client
 * id in place of the other's. No filter has a line feed.
 */
export function templateTextOf(scopes: readonly TopicScope[], own: ClientId): string {
  let text = '';
  for (const { action, maxQos, isRetainAllowed, filter } of scopes) {
    text += `${action}${maxQos}${isRetainAllowed ? 1 : 0}${markOwn(filter, own)}\n`;
  }
  return text;
}

/** Compiles what all clients of one template text share. */
export function compileTemplate(scopes: readonly TopicScope[], own: ClientId): TopicRightsTemplate {
  return compile(
    scopes.map((scope) => Object.freeze({ ...scope, filter: markOwn(scope.filter, own) })),
  );
}

/** The rights of one client, made of what its template text compiled to. Decides as if compiled alone. */
export function bindTopicRights(template: TopicRightsTemplate, own: ClientId): TopicRights {
  return Object.freeze({ compiled: template, own, memory: newMemory() });
}

/** The scopes that rights were made from. */
export function scopesOf({ compiled, own }: TopicRights): readonly TopicScope[] {
  return compiled.scopes.map((scope) => bindOwn(scope, own));
}

/** The entry as it is for this client; the same object each time. */
function bind({ own, memory }: TopicRights, entry: Allowed): Allowed {
  if (own === OWN_LEVEL) return entry;
  const known = memory.bound?.get(entry);
  if (known !== undefined) return known;
  const scope = bindOwn(entry.scope, own);
  const allowed = scope === entry.scope ? entry : Object.freeze({ allowed: true as const, scope });
  memory.bound ??= new Map();
  memory.bound.set(entry, allowed);
  return allowed;
}

function deny(reason: DenialReason, detail: string, nearest?: TopicScope): Denied {
  return { allowed: false, reason, detail, nearest };
}

/**
 * Says what is missing. Asks the tree that decided, so it cannot disagree with the decision, and
 * costs no more with many scopes than with few: strangers choose how often it runs.
 */
function explainDenial(
  root: RightsNode,
  topic: string,
  qos: number,
  retain: boolean,
  own: string,
): Denied {
  const scopeOf = (entry: Allowed | undefined) => entry && bindOwn(entry.scope, own);
  const covering = qos > 0 || retain ? scopeOf(findEntry(root, topic, 0, false, own)) : undefined;
  if (covering !== undefined) {
    const unretained = retain ? scopeOf(findEntry(root, topic, qos, false, own)) : undefined;
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
  const nearest = scopeOf(nearestEntry(root, topic, own));
  if (nearest === undefined) return deny('no-scope', 'no scope has this action');
  const detail = `no scope covers the topic; the nearest is ${formatTopicScope(nearest)}`;
  return deny('no-scope', detail, nearest);
}

/**
 * Decides one request. Total: malformed topics, an unknown action and a QoS outside 0 to 2 are
 * denied. An `Allowed` is the compiled entry itself, or was made of it when the client first used it,
 * so allowing allocates nothing.
 */
export function decide(rights: TopicRights, request: TopicRequest): Decision {
  const { action, topic } = request;
  const isPublish = action === 'publish';
  const isSubscribe = action === 'subscribe';
  if (!isPublish && !isSubscribe && action !== 'receive') {
    return deny('no-scope', 'the action is not known');
  }
  const { compiled, own, memory } = rights;
  const last = isPublish ? memory.publication : memory.delivery;
  if (
    last !== undefined &&
    !isSubscribe &&
    last.topic === topic &&
    (!isPublish || (last.qos === request.qos && last.retain === request.retain))
  ) {
    return last.entry;
  }
  const problem = isSubscribe ? topicFilterProblem(topic) : topicNameProblem(topic);
  if (problem !== undefined) return deny('topic-invalid', `the topic ${problem}`);
  const qos = action === 'receive' ? 0 : request.qos;
  if (qos !== 0 && qos !== 1 && qos !== 2) return deny('qos-too-high', 'the QoS is not 0, 1 or 2');
  const retain = isPublish && request.retain;
  const path = isSubscribe ? withShortestLevels(topic) : topic;
  const root = isPublish ? compiled.publish : compiled.subscribe;
  const entry = findEntry(root, path, qos, retain, own);
  if (entry === undefined) return explainDenial(root, path, qos, retain, own);
  const allowed = bind(rights, entry);
  if (!isSubscribe && topic.length <= MAX_REMEMBERED_LENGTH) {
    memory[isPublish ? 'publication' : 'delivery'] = { topic, qos, retain, entry: allowed };
  }
  return allowed;
}

/**
 * Whether these rights allow all that the scope would: one entry for each of its actions, as for
 * one request. Costs time by the depth of its filter.
 */
export function rightsCover(rights: TopicRights, scope: TopicScope): boolean {
  const { compiled, own } = rights;
  const { action, maxQos, isRetainAllowed } = scope;
  const path = withShortestLevels(scope.filter);
  return (
    (action === 'sub' ||
      findEntry(compiled.publish, path, maxQos, isRetainAllowed, own) !== undefined) &&
    (action === 'pub' || findEntry(compiled.subscribe, path, maxQos, false, own) !== undefined)
  );
}
