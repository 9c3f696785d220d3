/**
 * Topic scopes over templates, `pub:devices/{client_id}/telemetry/#`, and their safe expansion.
 *
 * A placeholder is `{client_id}` or `{labels.<key>}`, within one level. A literal brace is written
 * percent-encoded. Values are checked where they are set and again here, so that none can add a
 * level or a wildcard.
 *
 * Units   none.
 * Errors  `FormatError` for a malformed template; a label that the client lacks is no error but an
 *         answer, since the permission is then just not granted.
 * Source  DESIGN 4.
 *
 * @module
 */
import { FormatError } from './errors.js';
import { type ClientId, isTemplateValue, LABEL_KEY, parseClientId } from './ids.js';
import { parseRawTopicScope, percentDecode, type TopicScope } from './scope.js';
import { parseTopicFilter } from './topic.js';

/** Whose values a template takes. */
export interface TemplateSubject {
  readonly clientId: ClientId;
  readonly labels: ReadonlyMap<string, string>;
}

export type Expansion =
  | { readonly ok: true; readonly scope: TopicScope }
  | { readonly ok: false; readonly missingLabel: string };

export interface TopicScopeTemplate {
  /** The text it was parsed from. */
  readonly text: string;
  /** Label keys that a client must have. */
  readonly labels: readonly string[];
  expand(subject: TemplateSubject): Expansion;
}

type Part = { readonly literal: string } | { readonly label: string } | { readonly clientId: true };

function parseParts(rawTopic: string, field: string): readonly Part[] {
  return rawTopic
    .split(/(\{[^{}]*\})/)
    .filter((piece) => piece !== '')
    .map((piece): Part => {
      if (piece === '{client_id}') return { clientId: true };
      if (piece.startsWith('{labels.') && piece.endsWith('}')) {
        const label = piece.slice('{labels.'.length, -1);
        if (LABEL_KEY.test(label)) return { label };
      }
      if (/[{}]/.test(piece)) {
        throw new FormatError(
          field,
          'has an unknown placeholder or a stray brace; known: {client_id}, {labels.<key>}; a literal brace is %7B or %7D',
        );
      }
      return { literal: percentDecode(piece, field) };
    });
}

export function parseTopicScopeTemplate(text: string, field = 'scope'): TopicScopeTemplate {
  const { action, maxQos, isRetainAllowed, rawTopic } = parseRawTopicScope(text, field);
  const parts = parseParts(rawTopic, field);
  const fill = (value: (part: Part) => string) =>
    parseTopicFilter(parts.map(value).join(''), `${field} topic filter`);
  // Whatever the values will be, they cannot mend a filter that is malformed with a plain one.
  fill((part) => ('literal' in part ? part.literal : 'x'));
  const labels = [...new Set(parts.flatMap((part) => ('label' in part ? [part.label] : [])))];
  return {
    text,
    labels,
    expand: (subject) => {
      const missingLabel = labels.find((key) => !isTemplateValue(subject.labels.get(key) ?? ''));
      if (missingLabel !== undefined) return { ok: false, missingLabel };
      const clientId = parseClientId(subject.clientId);
      const filter = fill((part) => {
        if ('literal' in part) return part.literal;
        return 'label' in part ? (subject.labels.get(part.label) as string) : clientId;
      });
      return { ok: true, scope: Object.freeze({ action, filter, maxQos, isRetainAllowed }) };
    },
  };
}
