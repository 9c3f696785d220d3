/**
 * Which issuer's clients may have a client id: each third party has the ids behind its own prefix,
 * and our own authority has all the others.
 *
 * No prefix begins with another, so that an id is behind one of them at most.
 *
 * Units   none.
 * Errors  `FormatError` when two could give the same id.
 * Source  DESIGN 9 (I7); RFC 9068 5 (ids of one issuer must not collide with another's).
 *
 * @module
 */
import { FormatError } from '@latchkey/shared';

export interface ClientNamespaces {
  /** Name of the third party whose ids are like this one; `undefined`: our own authority's. */
  holderOf(clientId: string): string | undefined;
}

/** A third party's share of the client ids. */
export interface ClientNamespace {
  readonly name: string;
  /** Ends in a colon; empty for a third party that is the only issuer. */
  readonly clientIdPrefix: string;
}

export function createClientNamespaces(
  thirdParties: readonly ClientNamespace[],
  { hasOwnAuthority }: { readonly hasOwnAuthority: boolean },
  field = 'third_party_issuer',
): ClientNamespaces {
  for (const [index, { name, clientIdPrefix: prefix }] of thirdParties.entries()) {
    const refuse = (option: string, problem: string): never => {
      throw new FormatError(`${field}.${index}.${option}`, problem);
    };
    if (prefix === '' && hasOwnAuthority) {
      refuse('client_id_prefix', 'must not be empty beside an authority of our own');
    }
    for (const [otherIndex, other] of thirdParties.entries()) {
      if (otherIndex === index) continue;
      if (other.name === name) refuse('name', 'must not be that of another issuer');
      if (other.clientIdPrefix.startsWith(prefix)) {
        refuse('client_id_prefix', 'must not be where the prefix of another issuer begins');
      }
    }
  }
  return {
    holderOf: (clientId) =>
      thirdParties.find(({ clientIdPrefix }) => clientId.startsWith(clientIdPrefix))?.name,
  };
}
