/**
 * Return codes of MQTT 3.1.1 and which of our errors becomes which.
 *
 * Units   codes are single bytes.
 * Errors  none; anything that is not one of ours becomes "server unavailable", never an acceptance.
 * Source  MQTT 3.1.1 3.2.2.3 and 3.9.3; STYLE 2.5; STANDARDS 4.4.
 *
 * @module
 */
import {
  InsufficientScopeError,
  InvalidRequestError,
  InvalidTokenError,
  UnavailableError,
} from '@latchkey/shared';

/** CONNACK return codes. */
export const CONNACK = {
  accepted: 0,
  identifierRejected: 2,
  serverUnavailable: 3,
  badUserNameOrPassword: 4,
  notAuthorized: 5,
} as const;
export type ConnackCode = (typeof CONNACK)[keyof typeof CONNACK];

/** CONNACK return code for a refused CONNECT. */
export function returnCodeOf(error: unknown): ConnackCode {
  if (error instanceof InvalidTokenError) return CONNACK.badUserNameOrPassword;
  if (error instanceof InsufficientScopeError) return CONNACK.notAuthorized;
  if (error instanceof InvalidRequestError) return CONNACK.identifierRejected;
  if (error instanceof UnavailableError) return CONNACK.serverUnavailable;
  return CONNACK.serverUnavailable;
}
