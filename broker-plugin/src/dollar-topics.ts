/**
 * Which topics that begin with `$` an operator has opened.
 *
 * They belong to brokers: `$SYS` lists every client, `$SYS/…/new/clients` disconnects one, `$share`
 * and `$queue` are filters in disguise. None is a topic of a device unless the operator names its
 * first level, and those that mean something to a broker never are.
 *
 * Units   none.
 * Errors  `FormatError` for a level that cannot be opened.
 * Source  MQTT 5 4.7.2, 4.8.2; STANDARDS 4.3, 5.3 (6); DESIGN 4.
 *
 * @module
 */
import { FormatError } from '@latchkey/shared';

const LEVEL = /^\$[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const RESERVED: ReadonlySet<string> = new Set([
  '$sys',
  '$share',
  '$queue',
  '$exclusive',
  '$delayed',
  '$latchkey',
]);
export const MAX_DOLLAR_TOPICS = 16;

/** First levels that are open, such as `$app`. */
export type DollarTopics = ReadonlySet<string>;

export function parseDollarTopic(level: string): string {
  if (!LEVEL.test(level)) {
    throw new FormatError('dollarTopics', 'must be the first level of a topic, such as $app');
  }
  if (RESERVED.has(level.toLowerCase())) {
    throw new FormatError('dollarTopics', 'must not be a level that means something to brokers');
  }
  return level;
}

export function parseDollarTopics(levels: readonly string[]): DollarTopics {
  if (levels.length > MAX_DOLLAR_TOPICS) {
    throw new FormatError('dollarTopics', `must not be more than ${MAX_DOLLAR_TOPICS}`);
  }
  return new Set(levels.map(parseDollarTopic));
}

/** Whether a topic, or filter, begins with an open level. */
export function isOpenDollarTopic(open: DollarTopics, topic: string): boolean {
  if (open.size === 0) return false;
  const end = topic.indexOf('/');
  return open.has(end === -1 ? topic : topic.slice(0, end));
}
