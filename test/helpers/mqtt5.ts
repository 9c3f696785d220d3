/**
 * MQTT 5 packet by packet: a connected client, and the codes by their names.
 *
 * @module
 */
import type { IConnectPacket } from 'mqtt-packet';
import type { GuardedBroker } from './guarded-broker.ts';
import type { TokenRequest } from './issuer-server.ts';
import type { WireClient } from './mqtt-wire.ts';

export const CODE = {
  success: 0x00,
  noSubscription: 0x11,
  malformedPacket: 0x81,
  protocolError: 0x82,
  clientIdNotValid: 0x85,
  badUserNameOrPassword: 0x86,
  notAuthorized: 0x87,
  serverUnavailable: 0x88,
  banned: 0x8a,
  serverShuttingDown: 0x8b,
  badAuthenticationMethod: 0x8c,
  sessionTakenOver: 0x8e,
  topicFilterInvalid: 0x8f,
  receiveMaximumExceeded: 0x93,
  topicAliasInvalid: 0x94,
  packetTooLarge: 0x95,
  quotaExceeded: 0x97,
  sharedSubscriptionsNotSupported: 0x9e,
  maximumConnectTime: 0xa0,
} as const;

/** Connects with MQTT 5, by default with a token for `t-42`. */
export function connect5(
  broker: GuardedBroker,
  token: TokenRequest | string = {},
  packet: Partial<IConnectPacket> = {},
): ReturnType<GuardedBroker['connect']> {
  return broker.connect(token, { ...packet, protocolVersion: 5 });
}

/** A CONNECT with a token and no user name, which mqtt-packet does not make. */
export function withoutUserName(token: string): Uint8Array {
  const text = (value: string) => Buffer.concat([Buffer.of(0, value.length), Buffer.from(value)]);
  const password = Buffer.concat([Buffer.alloc(2), Buffer.from(token)]);
  password.writeUInt16BE(token.length);
  const head = [text('MQTT'), Buffer.of(5, 0x42, 0, 60, 0)]; // password and clean start, 60 s
  const body = Buffer.concat([...head, text('t-42'), password]);
  return Buffer.concat([Buffer.of(0x10, (body.length & 0x7f) | 0x80, body.length >> 7), body]);
}

/** The code of the DISCONNECT that the broker sends before it closes; fails when there is none. */
export async function disconnected(client: WireClient): Promise<number | undefined> {
  const { reasonCode } = await client.next('disconnect');
  await client.closed;
  return reasonCode;
}
