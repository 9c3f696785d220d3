/**
 * Counts what a CONNECT comes to, and refuses those of a banned claimant unverified.
 *
 * Only what the client itself is refused for is a failure: not that keys cannot be had, nor that the
 * host says no, of which the client may know nothing.
 *
 * Units   none.
 * Errors  `BannedError`, and those of the authentication.
 * Source  STANDARDS 6 (18); DESIGN 9 (I7, I11).
 *
 * @module
 */
import { OAuthError, UnavailableError } from '@latchkey/shared';
import type { Authenticate, ConnectRequest } from './authenticate.js';
import { parseMqttClientId } from './mqtt-client-id.js';
import { BannedError, type Claimant, type Protection } from './protection.js';

function claimantOf({ address, mqttClientId }: ConnectRequest): Claimant {
  try {
    // Of all instances: else one that is banned would go on as another.
    return { address, clientId: parseMqttClientId(mqttClientId).clientId };
  } catch {
    return { address, clientId: undefined };
  }
}

export function createProtectedAuthenticate(deps: {
  readonly authenticate: Authenticate;
  readonly protection: Protection;
  /** Whether the token in it was verified before, so that it costs no signature. */
  readonly isTokenKnown: (request: ConnectRequest) => boolean;
}): Authenticate {
  const { authenticate, protection, isTokenKnown } = deps;
  return async (request) => {
    const claimant = claimantOf(request);
    const isBanned = protection.isBanned(claimant);
    if (isBanned && !isTokenKnown(request)) throw new BannedError();
    try {
      const admission = await authenticate(request);
      protection.countSuccess(claimant);
      return admission;
    } catch (error) {
      if (!(error instanceof OAuthError) || error instanceof UnavailableError) throw error;
      if (isBanned) throw new BannedError({ cause: error }); // told once, when the ban began
      protection.countFailure(claimant);
      throw error;
    }
  };
}
