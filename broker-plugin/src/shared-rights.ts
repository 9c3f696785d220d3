/**
 * Rights compiled from a scope text once for all who have that text.
 *
 * Units   `maxEntries`: a count.
 * Errors  none; a text that cannot be read gives no rights.
 * Source  DESIGN 9 (I2, I11).
 *
 * @module
 */
import {
  type ClientId,
  compileTopicRights,
  FormatError,
  parseScope,
  type TopicRights,
} from '@latchkey/shared';
import type { CompileRights } from './rights-compiler.js';

/** The rights that a scope text gives a client. */
export type RightsOf = (scope: string, clientId: ClientId) => TopicRights;

const NO_RIGHTS: TopicRights = compileTopicRights([]);

/** Remembers the texts used last. */
export function createSharedRights(maxEntries: number, compileRights: CompileRights): RightsOf {
  /** In the order of their last use. */
  const known = new Map<string, TopicRights>();
  const compile = (scope: string, clientId: ClientId): TopicRights => {
    try {
      return compileRights(parseScope(scope).topicScopes, clientId);
    } catch (error) {
      if (error instanceof FormatError) return NO_RIGHTS;
      throw error;
    }
  };
  return (scope, clientId) => {
    const rights = known.get(scope) ?? compile(scope, clientId);
    known.delete(scope);
    known.set(scope, rights);
    if (known.size > maxEntries) known.delete(known.keys().next().value as string);
    return rights;
  };
}
