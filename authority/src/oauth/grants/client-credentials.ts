/**
 * The client_credentials grant: a client that authenticates gets a token for itself.
 *
 * Units   none.
 * Errors  `InvalidClientError`, `InvalidTargetError`, `InvalidScopeError`.
 * Source  RFC 6749 4.4; RFC 7521 6.2.
 *
 * @module
 */
import { InvalidClientError } from '@latchkey/shared';
import type { IssueToken } from '../issue-token.js';
import type { Grant } from './grant.js';

export function createClientCredentialsGrant(issueToken: IssueToken): Grant {
  return {
    grantType: 'client_credentials',
    label: 'client_credentials',
    handle: async ({ client, parameters, address }) => {
      if (client === undefined) throw new InvalidClientError('client authentication is required');
      return issueToken({
        ...client,
        parameters,
        address,
        refuse: (detail) => new InvalidClientError('client authentication failed', { detail }),
      });
    },
  };
}
