/**
 * What each grant is to the token endpoint.
 *
 * Units   none.
 * Errors  `handle` throws OAuth errors.
 * Source  RFC 6749 4.5 and 5.1.
 *
 * @module
 */
import type { RequestParameters } from '../../http/parameters.js';
import type { AuthenticatedClient, NoteClient } from '../client-authentication.js';
import type { TokenAnswer } from '../issue-token.js';

export interface GrantRequest {
  readonly parameters: RequestParameters;
  /** Whose credentials were in the request, verified; `undefined`: there were none. */
  readonly client: AuthenticatedClient | undefined;
  readonly noteClient: NoteClient;
  /** Where the request came from. */
  readonly address: string;
}

export interface Grant {
  readonly grantType: string;
  /** Short name, for metrics. */
  readonly label: string;
  handle(request: GrantRequest): Promise<TokenAnswer>;
}
