/**
 * Return codes of MQTT 3.1.1, reason codes of MQTT 5, and which of our errors becomes which.
 *
 * Units   codes are single bytes.
 * Errors  none; anything that is not one of ours becomes "server unavailable", never an acceptance.
 * Source  MQTT 3.1.1 3.2.2.3 and 3.9.3; MQTT 5 2.4, 3.2.2.2, 3.9.3, 3.14.2.1; STYLE 2.5;
 *         STANDARDS 4.4.
 *
 * @module
 */
import {
  InsufficientScopeError,
  InvalidRequestError,
  InvalidTokenError,
  UnavailableError,
} from '@latchkey/shared';
import type { EndReason } from './sessions.js';

/** CONNACK return codes of MQTT 3.1.1. */
export const CONNACK = {
  accepted: 0,
  identifierRejected: 2,
  serverUnavailable: 3,
  badUserNameOrPassword: 4,
  notAuthorized: 5,
} as const;
export type ConnackCode = (typeof CONNACK)[keyof typeof CONNACK];

/** Reason codes of MQTT 5, as far as they are sent here. */
export const REASON = {
  unspecified: 0x80,
  malformedPacket: 0x81,
  protocolError: 0x82,
  clientIdNotValid: 0x85,
  badUserNameOrPassword: 0x86,
  notAuthorized: 0x87,
  serverUnavailable: 0x88,
  banned: 0x8a,
  serverShuttingDown: 0x8b,
  topicFilterInvalid: 0x8f,
  receiveMaximumExceeded: 0x93,
  packetTooLarge: 0x95,
  quotaExceeded: 0x97,
  administrativeAction: 0x98,
  sharedSubscriptionsNotSupported: 0x9e,
  maximumConnectTime: 0xa0,
} as const;
export type ReasonCode = (typeof REASON)[keyof typeof REASON];

/** CONNACK return code for a refused CONNECT. */
export function returnCodeOf(error: unknown): ConnackCode {
  if (error instanceof InvalidTokenError) return CONNACK.badUserNameOrPassword;
  if (error instanceof InsufficientScopeError) return CONNACK.notAuthorized;
  if (error instanceof InvalidRequestError) return CONNACK.identifierRejected;
  if (error instanceof UnavailableError) return CONNACK.serverUnavailable;
  return CONNACK.serverUnavailable;
}

const REASON_OF_RETURN_CODE: ReadonlyMap<number, ReasonCode> = new Map([
  [CONNACK.identifierRejected, REASON.clientIdNotValid],
  [CONNACK.serverUnavailable, REASON.serverUnavailable],
  [CONNACK.badUserNameOrPassword, REASON.badUserNameOrPassword],
  [CONNACK.notAuthorized, REASON.notAuthorized],
]);

/** CONNACK reason code that says in MQTT 5 what a return code says in MQTT 3.1.1. */
export function reasonCodeOf(returnCode: number): ReasonCode {
  return REASON_OF_RETURN_CODE.get(returnCode) ?? REASON.notAuthorized;
}

const REASON_OF_END: Readonly<Record<Exclude<EndReason, 'closed'>, ReasonCode>> = {
  expired: REASON.maximumConnectTime,
  revoked: REASON.administrativeAction,
  'lost-rights': REASON.notAuthorized,
};

/** DISCONNECT reason code for a session that is ended here. */
export function reasonCodeOfEnd(reason: EndReason, isClosing: boolean): ReasonCode {
  if (reason !== 'closed') return REASON_OF_END[reason];
  return isClosing ? REASON.serverShuttingDown : REASON.unspecified;
}
