/**
 * Decides a renewal: whether a new token may take the place of the one a session was opened with.
 *
 * MQTT 3.1.1 cannot renew; so a client publishes its new token, QoS 1, to a topic that no broker
 * routes. QoS 1 because its PUBACK is the acceptance; no retain because a token is kept nowhere.
 *
 * Units   instants as NumericDate.
 * Errors  `InvalidRequestError`: not a renewal as it must be. `InvalidTokenError`,
 *         `InsufficientScopeError` and `UnavailableError` as for a CONNECT. `detail` is for the log.
 * Source  DESIGN 4 (renewal in the session).
 *
 * @module
 */
import {
  type Clock,
  InsufficientScopeError,
  InvalidRequestError,
  InvalidTokenError,
} from '@latchkey/shared';
import { INVALID_TOKEN, type SessionContext, type VerifyToken } from './verify-token.js';

/** What a PUBLISH to that topic says. */
export interface RenewRequest {
  readonly token: Uint8Array;
  readonly qos: number;
  readonly retain: boolean;
}

/** Answers with the context that takes the place of `current`. */
export type Renew = (current: SessionContext, request: RenewRequest) => Promise<SessionContext>;

export function createRenew(deps: {
  readonly verifyToken: VerifyToken;
  readonly clock: Clock;
  /** By which sessions end. */
  readonly sessionClock: Clock;
}): Renew {
  const { verifyToken, clock, sessionClock } = deps;

  const refuseExpired = (by: Clock, { expiresAt }: SessionContext, which: string): void => {
    if (by.now() < expiresAt) return;
    throw new InvalidTokenError(INVALID_TOKEN, { detail: `expired: ${which}` });
  };

  return async (current, { token, qos, retain }) => {
    if (qos !== 1 || retain) {
      const detail = retain ? 'retain' : `QoS ${qos}`;
      throw new InvalidRequestError('a renewal is QoS 1 without retain', { detail });
    }
    refuseExpired(sessionClock, current, 'the token of the session');
    const next = await verifyToken(token);
    if (next.clientId !== current.clientId) {
      throw new InsufficientScopeError('the access token is of another client', {
        detail: `client-id: the token is of ${next.clientId}, the session of ${current.clientId}`,
      });
    }
    // Rights only move on: an old token, wider than the present one, stays in the past.
    if (next.issuedAt < current.issuedAt) {
      throw new InvalidTokenError(INVALID_TOKEN, {
        detail: `older: issued ${current.issuedAt - next.issuedAt} s before the present token`,
      });
    }
    // Verifying takes time, and when a session is over it is over, whatever comes after.
    refuseExpired(
      sessionClock,
      current,
      'the token of the session, while the new one was verified',
    );
    refuseExpired(clock, next, 'while it was verified');
    return next;
  };
}
