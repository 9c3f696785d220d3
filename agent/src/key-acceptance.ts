/**
 * Asks the authority whether it accepts a key: by a token, which nobody uses.
 *
 * Units   NumericDate.
 * Errors  `UnreachableError`; `TokenRequestError` for refusals that are not about the key.
 * Source  RFC 6749 5.2: `invalid_grant` is about the assertion, the others come after it.
 *
 * @module
 */
import {
  type Clock,
  type HttpClient,
  requestToken,
  type ServerMetadata,
  type Signer,
  TokenRequestError,
} from '@latchkey/shared';
import type { Identity } from './identity.js';

/** Refusals that say nothing against the key: it was proven before they were found. */
const PROVEN: readonly string[] = ['invalid_target', 'invalid_scope'];

/** How the authority refuses the key; `undefined`: it accepts it. */
export async function keyRefusal(
  { issuer, clientId }: Pick<Identity, 'issuer' | 'clientId'>,
  signer: Signer,
  deps: {
    readonly metadata: ServerMetadata;
    readonly http: HttpClient;
    readonly clock: Clock;
  },
): Promise<TokenRequestError | undefined> {
  const { metadata, http, clock } = deps;
  try {
    await requestToken({ http, metadata, issuer, clientId, signer, now: clock.now() });
    return undefined;
  } catch (error) {
    if (!(error instanceof TokenRequestError)) throw error;
    if (PROVEN.includes(error.error)) return undefined;
    if (error.error === 'invalid_grant') return error;
    throw error;
  }
}
