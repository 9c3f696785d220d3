/**
 * Rights compiled from a scope text once for all who have that text.
 *
 * Units   `maxEntries`: a count.
 * Errors  none; a text that cannot be read gives no rights.
 * Source  DESIGN 9 (I2, I11).
 *
 * @module
 */
import { compileTopicRights, FormatError, parseScope, type TopicRights } from '@latchkey/shared';

/** The rights that a scope text gives. */
export type RightsOf = (scope: string) => TopicRights;

const NO_RIGHTS: TopicRights = compileTopicRights([]);

function compile(scope: string): TopicRights {
  try {
    return compileTopicRights(parseScope(scope).topicScopes);
  } catch (error) {
    if (error instanceof FormatError) return NO_RIGHTS;
    throw error;
  }
}

/** Remembers the texts used last. */
export function createSharedRights(maxEntries: number): RightsOf {
  /** In the order of their last use. */
  const known = new Map<string, TopicRights>();
  return (scope) => {
    const rights = known.get(scope) ?? compile(scope);
    known.delete(scope);
    known.set(scope, rights);
    if (known.size > maxEntries) known.delete(known.keys().next().value as string);
    return rights;
  };
}
