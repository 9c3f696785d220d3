/**
 * MQTT topic names and topic filters: strict parsing, matching and containment.
 *
 * Units   lengths in UTF-8 bytes, depths in levels.
 * Errors  `FormatError` whose `field` is the caller's word for the value.
 * Source  MQTT 3.1.1 1.5.3, 4.7, 4.7.2; the same rules stand in MQTT 5.0.
 *
 * @module
 */
import { FormatError } from './errors.js';
import type { Branded } from './ids.js';

/** A topic without wildcards, as in PUBLISH. */
export type TopicName = Branded<'TopicName'>;
/** A topic with or without wildcards, as in SUBSCRIBE. */
export type TopicFilter = Branded<'TopicFilter'>;

/** [MQTT-4.7.3-3] */
export const MAX_TOPIC_BYTES = 65_535;
/** Our own bound: deeper topics only serve to burn CPU in matchers. Aedes has the same. */
export const MAX_TOPIC_LEVELS = 100;

const PLAIN = /^[\x20-\x7e]+$/;
/**
 * U+0000 and lone surrogates are forbidden [MQTT-1.5.3-1, -2]; controls and non-characters "SHOULD
 * NOT" be sent and are refused; U+FFFD is what a decoder leaves in place of ill-formed UTF-8.
 */
const FORBIDDEN = /[\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}\uFFFD]/u;

/** What is wrong with the text as any topic, or `undefined`. */
function textProblem(text: string): string | undefined {
  if (text.length === 0) return 'must not be empty'; // [MQTT-4.7.3-1]
  if (text.length > MAX_TOPIC_BYTES) return `must not exceed ${MAX_TOPIC_BYTES} bytes`;
  if (!PLAIN.test(text)) {
    if (FORBIDDEN.test(text)) return 'must be well-formed UTF-8 without control characters';
    if (Buffer.byteLength(text) > MAX_TOPIC_BYTES)
      return `must not exceed ${MAX_TOPIC_BYTES} bytes`;
  }
  if (text.length >= MAX_TOPIC_LEVELS) {
    let levels = 1;
    for (let at = text.indexOf('/'); at !== -1; at = text.indexOf('/', at + 1)) levels += 1;
    if (levels > MAX_TOPIC_LEVELS) return `must not have more than ${MAX_TOPIC_LEVELS} levels`;
  }
  return undefined;
}

/** What is wrong with the text as a topic name, or `undefined` when it is one. */
export function topicNameProblem(text: string): string | undefined {
  if (text.includes('+') || text.includes('#')) return 'must not contain + or #'; // [MQTT-3.3.2-2]
  return textProblem(text);
}

/** What is wrong with the text as a topic filter, or `undefined` when it is one. */
export function topicFilterProblem(text: string): string | undefined {
  const hash = text.indexOf('#');
  if (hash !== -1) {
    // [MQTT-4.7.1-2]
    if (hash !== text.length - 1) return 'may have # only as its last character';
    if (hash > 0 && text[hash - 1] !== '/') return 'must have # alone in its level';
  }
  for (let at = text.indexOf('+'); at !== -1; at = text.indexOf('+', at + 1)) {
    // [MQTT-4.7.1-3]
    const isAlone =
      (at === 0 || text[at - 1] === '/') && (at === text.length - 1 || text[at + 1] === '/');
    if (!isAlone) return 'must have + alone in its level';
  }
  return textProblem(text);
}

export function parseTopicName(value: unknown, field = 'topic name'): TopicName {
  const problem = typeof value === 'string' ? topicNameProblem(value) : 'must be a string';
  if (problem !== undefined) throw new FormatError(field, problem);
  return value as TopicName;
}

export function parseTopicFilter(value: unknown, field = 'topic filter'): TopicFilter {
  const problem = typeof value === 'string' ? topicFilterProblem(value) : 'must be a string';
  if (problem !== undefined) throw new FormatError(field, problem);
  return value as TopicFilter;
}

/**
 * The same set of names, written with as many levels as its shortest name has. `#` has no name of
 * zero levels and `/#` has no empty parent (a topic has at least one character [MQTT-4.7.3-1]), so
 * they equal `+/#` and `/+/#`; without this, `covers('+/#', '#')` would be wrongly denied.
 */
export function withShortestLevels(filter: string): string {
  if (filter === '#') return '+/#';
  return filter === '/#' ? '/+/#' : filter;
}

/**
 * Whether every topic name that `requested` matches is matched by `granted` too.
 *
 * Exact: neither too wide nor too narrow, checked against a brute-force model. Both must have been
 * parsed; a topic name may stand for `requested`.
 */
export function covers(granted: TopicFilter, requested: TopicFilter | TopicName): boolean {
  const s = granted.split('/');
  const q = withShortestLevels(requested).split('/');
  // [MQTT-4.7.2-1] a leading wildcard does not match a topic that begins with $
  if ((s[0] === '+' || s[0] === '#') && requested.startsWith('$')) return false;
  for (let i = 0; ; i += 1) {
    if (s[i] === '#') return true; // the parent level included (4.7.1.2)
    if (i === s.length) return i === q.length;
    if (i === q.length || q[i] === '#') return false;
    if (s[i] !== '+' && s[i] !== q[i]) return false; // a literal never equals '+'
  }
}

/** Whether the filter matches the name (MQTT 3.1.1 4.7). Both must have been parsed. */
export function matches(filter: TopicFilter, name: TopicName): boolean {
  return covers(filter, name);
}
