/**
 * Topics of the config file in which `{client_id}` stands for this device's id, so that one file
 * serves a whole fleet.
 *
 * Units   none.
 * Errors  `FormatError` for another placeholder, a stray brace, or a topic that is malformed.
 * Source  DESIGN 4 (topic templates); MQTT 3.1.1 4.7.
 *
 * @module
 */
import {
  type Branded,
  type ClientId,
  FormatError,
  parseTopicFilter,
  parseTopicName,
  type TopicFilter,
  type TopicName,
} from '@latchkey/shared';

/** A topic name once it is filled. */
export type NameTemplate = Branded<'NameTemplate'>;
/** A topic filter once it is filled. */
export type FilterTemplate = Branded<'FilterTemplate'>;

const PLACEHOLDER = '{client_id}';
/** The longest client id, without wildcards or separators, like all of them. */
const LONGEST_ID = 'x'.repeat(64);

const fill = (template: string, clientId: string): string =>
  template.replaceAll(PLACEHOLDER, clientId);

/** The topic as it is for a device with the longest id. */
function sample(template: string, field: string): string {
  const topic = fill(template, LONGEST_ID);
  if (/[{}]/.test(topic)) {
    throw new FormatError(field, 'has an unknown placeholder or a stray brace; known: {client_id}');
  }
  return topic;
}

export function parseNameTemplate(text: string, field = 'topic'): NameTemplate {
  parseTopicName(sample(text, field), field);
  return text as string as NameTemplate;
}

export function parseFilterTemplate(text: string, field = 'filter'): FilterTemplate {
  parseTopicFilter(sample(text, field), field);
  return text as string as FilterTemplate;
}

export function fillName(template: NameTemplate, clientId: ClientId): TopicName {
  return parseTopicName(fill(template, clientId));
}

export function fillFilter(template: FilterTemplate, clientId: ClientId): TopicFilter {
  return parseTopicFilter(fill(template, clientId));
}
