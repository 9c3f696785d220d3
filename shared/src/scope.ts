/**
 * The scope grammar: topic scopes (`pub;qos=1:devices/t-42/#`) beside plain OAuth scopes.
 *
 *     scope        = scope-value *( SP scope-value )
 *     topic-scope  = action *( ";" option ) ":" topic filter, percent-encoded
 *     action       = "pub" / "sub" / "pubsub"
 *     option       = "qos=" ( "0" / "1" / "2" ) / "retain=" ( "0" / "1" )
 *
 * Bytes that a scope-token cannot hold (RFC 6749 3.3), and `%`, are percent-encoded UTF-8.
 * Anything that looks like a topic scope and is not one makes the whole scope invalid.
 *
 * Units   `maxQos`: highest QoS allowed, 0 to 2.
 * Errors  `FormatError` with field `scope`, unless the caller names it otherwise.
 * Source  DESIGN 4; RFC 6749 3.3; RFC 3986 2.1.
 *
 * @module
 */
import { FormatError } from './errors.js';
import { covers, parseTopicFilter, type TopicFilter } from './topic.js';

export type TopicAction = 'pub' | 'sub' | 'pubsub';
export type Qos = 0 | 1 | 2;

/** A right to publish to, or subscribe to, the topics of a filter. */
export interface TopicScope {
  readonly action: TopicAction;
  readonly filter: TopicFilter;
  /** Highest QoS of a publication or of a requested subscription. Default 2. */
  readonly maxQos: Qos;
  /** Whether a publication may be retained. Default true; without meaning for `sub`. */
  readonly isRetainAllowed: boolean;
}

export interface ScopeSet {
  readonly topicScopes: readonly TopicScope[];
  /** Scopes without a topic meaning, such as `orders:read`; they give no right at a broker. */
  readonly plainScopes: readonly string[];
}

/** Bounds of a scope string. */
export const MAX_SCOPE_LENGTH = 65_536;
export const MAX_SCOPE_VALUES = 1024;

/** Characters of a scope-token without `%`: what a filter needs no encoding for. */
const UNENCODED = /^[\x21\x23\x24\x26-\x5b\x5d-\x7e]*$/;
const SCOPE_TOKEN = /^[\x21\x23-\x5b\x5d-\x7e]+$/;
const TOPIC_SCOPE = /^(pub|sub|pubsub)((?:;[^;:]*)*):(.*)$/;
/** Reads like a topic scope: a known action in any case, or options before the first colon. */
const LOOKS_LIKE_TOPIC_SCOPE = /^(?:(?:pub|sub|pubsub)(?:[;:]|$)|[^:]*;)/i;
const PERCENT_ENCODED = /%([0-9A-Fa-f]{2})?/g;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The parts of a topic scope before its topic is decoded; templates start from these. */
export interface RawTopicScope {
  readonly action: TopicAction;
  readonly maxQos: Qos;
  readonly isRetainAllowed: boolean;
  /** Still percent-encoded. */
  readonly rawTopic: string;
}

/** Whether a value is meant as a topic scope, well-formed or not. */
export function isTopicScopeLike(value: string): boolean {
  return LOOKS_LIKE_TOPIC_SCOPE.test(value);
}

export function parseRawTopicScope(value: string, field = 'scope'): RawTopicScope {
  if (value.length > MAX_SCOPE_LENGTH) {
    throw new FormatError(field, `must not exceed ${MAX_SCOPE_LENGTH} characters`);
  }
  const match = SCOPE_TOKEN.test(value) ? TOPIC_SCOPE.exec(value) : null;
  if (match === null) {
    throw new FormatError(
      field,
      'must look like pub:<topic filter>, sub:<topic filter> or pubsub:<topic filter>',
    );
  }
  const action = match[1] as TopicAction;
  let maxQos: Qos | undefined;
  let isRetainAllowed: boolean | undefined;
  const options = match[2] as string;
  for (const option of options === '' ? [] : options.slice(1).split(';')) {
    if (/^qos=[012]$/.test(option) && maxQos === undefined) {
      maxQos = Number(option.slice(4)) as Qos;
    } else if (/^retain=[01]$/.test(option) && isRetainAllowed === undefined && action !== 'sub') {
      isRetainAllowed = option === 'retain=1';
    } else {
      throw new FormatError(
        field,
        'has an unknown, repeated or misplaced option; known: qos=0..2, retain=0..1',
      );
    }
  }
  return {
    action,
    maxQos: maxQos ?? 2,
    isRetainAllowed: isRetainAllowed ?? true,
    rawTopic: match[3] as string,
  };
}

/** Decodes percent-encoded UTF-8; a stray `%` and ill-formed UTF-8 are refused. */
export function percentDecode(text: string, field = 'scope'): string {
  if (!text.includes('%')) return text;
  const bytes: number[] = [];
  let from = 0;
  for (const match of text.matchAll(PERCENT_ENCODED)) {
    if (match[1] === undefined)
      throw new FormatError(field, 'has a % that is not followed by two hex digits');
    bytes.push(
      ...Buffer.from(text.slice(from, match.index), 'latin1'),
      Number.parseInt(match[1], 16),
    );
    from = match.index + 3;
  }
  bytes.push(...Buffer.from(text.slice(from), 'latin1'));
  try {
    return utf8.decode(Uint8Array.from(bytes));
  } catch {
    throw new FormatError(field, 'has percent-encoded bytes that are not UTF-8');
  }
}

function percentEncode(text: string): string {
  if (UNENCODED.test(text)) return text;
  let out = '';
  for (const byte of Buffer.from(text)) {
    const char = String.fromCharCode(byte);
    out += UNENCODED.test(char) ? char : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return out;
}

export function parseTopicScope(value: string, field = 'scope'): TopicScope {
  const { action, maxQos, isRetainAllowed, rawTopic } = parseRawTopicScope(value, field);
  const filter = parseTopicFilter(percentDecode(rawTopic, field), `${field} topic filter`);
  return Object.freeze({ action, filter, maxQos, isRetainAllowed });
}

/** Canonical text: options only where they narrow, percent-encoding only where it must be. */
export function formatTopicScope(scope: TopicScope): string {
  const qos = scope.maxQos === 2 ? '' : `;qos=${scope.maxQos}`;
  const retain = scope.isRetainAllowed || scope.action === 'sub' ? '' : ';retain=0';
  return `${scope.action}${qos}${retain}:${percentEncode(scope.filter)}`;
}

/** Parses a whole scope string. The empty string is the empty set: connect, and nothing else. */
export function parseScope(text: unknown, field = 'scope'): ScopeSet {
  if (typeof text !== 'string') throw new FormatError(field, 'must be a string');
  if (text.length > MAX_SCOPE_LENGTH) {
    throw new FormatError(field, `must not exceed ${MAX_SCOPE_LENGTH} characters`);
  }
  const values = text === '' ? [] : text.split(' ');
  if (values.length > MAX_SCOPE_VALUES) {
    throw new FormatError(field, `must not have more than ${MAX_SCOPE_VALUES} values`);
  }
  const topicScopes: TopicScope[] = [];
  const plainScopes: string[] = [];
  for (const value of values) {
    if (!SCOPE_TOKEN.test(value)) {
      throw new FormatError(
        field,
        'must be scope values separated by single spaces (RFC 6749 3.3)',
      );
    }
    if (isTopicScopeLike(value)) topicScopes.push(parseTopicScope(value, field));
    else plainScopes.push(value);
  }
  return { topicScopes, plainScopes };
}

/** Canonical text of a set: topic scopes first, then plain ones. Parsing it gives the same set. */
export function formatScope(set: ScopeSet): string {
  return [...set.topicScopes.map(formatTopicScope), ...set.plainScopes].join(' ');
}

/** Whether one action is part of the other: `pubsub` holds both. */
function hasAction(granted: TopicAction, requested: 'pub' | 'sub'): boolean {
  return granted === 'pubsub' || granted === requested;
}

/**
 * Whether the granted scopes allow all that `requested` would. One entry must cover each action of
 * the request; several filters are never added up.
 */
export function scopeCovers(granted: readonly TopicScope[], requested: TopicScope): boolean {
  const actions: readonly ('pub' | 'sub')[] =
    requested.action === 'pubsub' ? ['pub', 'sub'] : [requested.action];
  return actions.every((action) =>
    granted.some(
      (entry) =>
        hasAction(entry.action, action) &&
        entry.maxQos >= requested.maxQos &&
        (action === 'sub' || entry.isRetainAllowed || !requested.isRetainAllowed) &&
        covers(entry.filter, requested.filter),
    ),
  );
}
