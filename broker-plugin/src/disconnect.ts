/**
 * Ends a connection at once, and tells a client of MQTT 5 why.
 *
 * Units   codes are single bytes.
 * Errors  none.
 * Source  MQTT 5 3.14, 4.13; STANDARDS 4.4; DESIGN 9 (I5).
 *
 * @module
 */
import { type Client, isMqtt5 } from './aedes-types.js';
import type { ReasonCode } from './mqtt-codes.js';
import { disconnectPacket } from './mqtt5-packets.js';

/** Set by Aedes 2, too, where it disconnects by itself; for `clientDisconnect` listeners of the host. */
interface Told {
  disconnectReasonCode?: number | null;
}

/** Writes DISCONNECT to a client of MQTT 5, once; nobody else has such a packet from a broker. */
export function tellWhy(client: Client & Told, code: ReasonCode): void {
  const { conn } = client;
  if (!isMqtt5(client) || client.closed || !conn.writable) return;
  if (typeof client.disconnectReasonCode === 'number') return;
  client.disconnectReasonCode = code;
  conn.write(disconnectPacket(code));
  // What is corked would be dropped by closing; the end of this turn is too late for it.
  while (conn.writableCorked > 0) conn.uncork();
}

/** `code`: why, or `undefined` before the CONNACK, when there is nothing to tell yet. */
export function disconnect(client: Client, code: ReasonCode | undefined): void {
  if (code !== undefined) tellWhy(client, code);
  client.close();
  // Closing waits for the host's emitter, which may be slow, and delivers until then.
  client.conn.destroy();
}
