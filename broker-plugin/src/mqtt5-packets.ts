/**
 * The three answers of MQTT 5 that Aedes does not give as they should be, in bytes.
 *
 * Each is one write, so that it is on its way to the client before its connection is closed.
 *
 * Units   bytes.
 * Errors  none; a reason is a short text of ours.
 * Source  MQTT 5 1.5.5, 3.2 (CONNACK), 3.9 (SUBACK), 3.14 (DISCONNECT).
 *
 * @module
 */
import type { ReasonCode } from './mqtt-codes.js';

const CONNACK_TYPE = 0x20;
const SUBACK_TYPE = 0x90;
const DISCONNECT_TYPE = 0xe0;
const REASON_STRING = 0x1f;

function variableByteInteger(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  do {
    const more = rest >= 0x80 ? 0x80 : 0;
    bytes.push((rest % 0x80) | more);
    rest = Math.floor(rest / 0x80);
  } while (rest > 0);
  return Uint8Array.from(bytes);
}

function packet(type: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const body = Buffer.concat(parts);
  return Buffer.concat([Uint8Array.of(type), variableByteInteger(body.length), body]);
}

function properties(...parts: readonly Uint8Array[]): Uint8Array {
  const all = Buffer.concat(parts);
  return Buffer.concat([variableByteInteger(all.length), all]);
}

function reasonString(reason: string): Uint8Array {
  const text = Buffer.from(reason);
  return Buffer.concat([Uint8Array.of(REASON_STRING, text.length >> 8, text.length & 0xff), text]);
}

/** A CONNACK that refuses; the reason is left out when it would make the packet longer than `maxBytes`. */
export function refusingConnack(
  code: ReasonCode,
  reason: string | undefined,
  maxBytes: number,
): Uint8Array {
  const head = Uint8Array.of(0, code); // no session present
  const short = packet(CONNACK_TYPE, head, properties());
  if (reason === undefined) return short;
  const long = packet(CONNACK_TYPE, head, properties(reasonString(reason)));
  return long.length <= maxBytes ? long : short; // [MQTT-3.2.2-19]
}

/** One code for each topic filter of the SUBSCRIBE, in its order. */
export function suback(messageId: number, codes: readonly number[]): Uint8Array {
  const head = Uint8Array.of(messageId >> 8, messageId & 0xff);
  return packet(SUBACK_TYPE, head, properties(), Uint8Array.from(codes));
}

export function disconnectPacket(code: ReasonCode): Uint8Array {
  return packet(DISCONNECT_TYPE, Uint8Array.of(code));
}
