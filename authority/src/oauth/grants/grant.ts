/**
 * What each grant is to the token endpoint.
 *
 * Units   none.
 * Errors  `handle` throws OAuth errors.
 * Source  RFC 6749 4.5 and 5.1.
 *
 * @module
 */
import type { ClientId } from '@latchkey/shared';
import type { FormParameters } from '../../http/form-body.js';

export interface TokenAnswer {
  readonly access_token: string;
  readonly token_type: 'Bearer';
  readonly expires_in: number;
  readonly scope: string;
}

/** Tells the endpoint which client the request names as soon as it is known, for the log. */
export type NoteClient = (clientId: ClientId) => void;

export interface Grant {
  readonly grantType: string;
  handle(form: FormParameters, noteClient: NoteClient): Promise<TokenAnswer>;
}
