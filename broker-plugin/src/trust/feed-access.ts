/**
 * The broker's own access token for the trust feed: one at a time, renewed before a request could
 * outlast it.
 *
 * Units   seconds where a name says so, instants as NumericDate.
 * Errors  `UnreachableError`, `TokenRequestError`.
 * Source  RFC 7523 2.1, RFC 8707; DESIGN 4 (Trust feed).
 *
 * @module
 */
import {
  type ClientId,
  type Clock,
  discover,
  FEED_MAX_WAIT_SECONDS,
  FEED_SCOPE,
  type HttpClient,
  type Issuer,
  type NumericDate,
  requestToken,
  type ServerMetadata,
  type Signer,
  type TokenResponse,
  UnreachableError,
} from '@latchkey/shared';

export interface FeedAccess {
  /** A token that a request with the longest wait does not outlast. */
  token(signal: AbortSignal): Promise<string>;
  /** Forgets a token that the authority refused. */
  discard(token: string): void;
}

/** The authority looks at the token again when the wait is over. */
const LEAST_SECONDS = 3 * FEED_MAX_WAIT_SECONDS;

/** From then on a new one is taken; short-lived ones at half of their life. */
function renewalAt({ issuedAt, expiresAt }: TokenResponse): NumericDate {
  return Math.max(issuedAt + Math.floor((expiresAt - issuedAt) / 2), expiresAt - LEAST_SECONDS);
}

export function createFeedAccess(deps: {
  readonly issuer: Issuer;
  readonly clientId: ClientId;
  readonly signer: Signer;
  readonly http: HttpClient;
  readonly clock: Clock;
}): FeedAccess {
  const { issuer, clientId, signer, http, clock } = deps;
  const resource = `${issuer}/api`;
  let metadata: ServerMetadata | undefined;
  let present: TokenResponse | undefined;

  const isGood = (token: TokenResponse): boolean => {
    const now = clock.now();
    return token.issuedAt <= now && now < renewalAt(token);
  };

  return {
    token: async (signal) => {
      if (present !== undefined && isGood(present)) return present.accessToken;
      const now = clock.now();
      const asked = { http, issuer, clientId, signer, now, resource, scope: FEED_SCOPE, signal };
      try {
        metadata ??= await discover(http, issuer, signal);
        present = await requestToken({ ...asked, metadata });
      } catch (error) {
        present = undefined;
        if (error instanceof UnreachableError) metadata = undefined; // it may have moved
        throw error;
      }
      return present.accessToken;
    },
    discard: (token) => {
      if (present?.accessToken === token) present = undefined;
    },
  };
}
