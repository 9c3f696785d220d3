/**
 * Compiles the scopes of a token once for all clients that have them from the same template.
 *
 * The devices of a role differ in their ids alone, so ten thousand sessions hold one compiled form and
 * their own names. Bounded by scopes, since a form is as large as it has scopes.
 *
 * Units   `maxScopes`: a count, over all templates.
 * Errors  none.
 * Source  DESIGN 4 (topic templates), 9 (I11).
 *
 * @module
 */
import {
  bindTopicRights,
  type ClientId,
  compileTemplate,
  type TopicRights,
  type TopicRightsTemplate,
  type TopicScope,
  templateTextOf,
} from '@latchkey/shared';

/** The rights that scopes give a client. */
export type CompileRights = (scopes: readonly TopicScope[], clientId: ClientId) => TopicRights;

/** What a form costs beside its scopes, in scopes. */
const FORM = 1;

/** Remembers the templates used last. */
export function createRightsCompiler(maxScopes: number): CompileRights {
  /** In the order of their last use. */
  const known = new Map<string, TopicRightsTemplate>();
  let size = 0;
  const sizeOf = ({ scopes }: TopicRightsTemplate): number => FORM + scopes.length;

  return (scopes, clientId) => {
    const text = templateTextOf(scopes, clientId);
    const found = known.get(text);
    const template = found ?? compileTemplate(scopes, clientId);
    if (found === undefined) size += sizeOf(template);
    else known.delete(text);
    known.set(text, template);
    for (const [oldText, old] of known) {
      if (size <= maxScopes) break;
      known.delete(oldText);
      size -= sizeOf(old);
    }
    return bindTopicRights(template, clientId);
  };
}
