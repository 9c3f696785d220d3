/**
 * What of a CONNECT breaks the protocol, and the CONNACK that says so in MQTT 5.
 *
 * Units   bytes where a name says so.
 * Errors  none.
 * Source  MQTT 3.1.1 3.1; MQTT 5 3.1, 3.2; STANDARDS 5.3 (5, 13, 18).
 *
 * @module
 */
import { type Client, type ConnectPacket, MQTT_5 } from './aedes-types.js';
import type { ReasonCode } from './mqtt-codes.js';
import { refusingConnack } from './mqtt5-packets.js';
import { propertiesProblem } from './packet-properties.js';

/** Whether the CONNECT can be answered in MQTT 5. */
export function isConnectOfMqtt5({ protocolVersion, bridgeMode }: ConnectPacket): boolean {
  return protocolVersion === MQTT_5 && bridgeMode !== true;
}

/** What breaks the protocol, and is answered by closing the connection [MQTT-4.8.0-1]. */
export function protocolProblem(packet: ConnectPacket): string | undefined {
  const { bridgeMode, protocolVersion, username, password, will, properties } = packet;
  if (bridgeMode === true) return 'bridge mode is not offered';
  if (protocolVersion !== MQTT_5 && password !== undefined && username === undefined) {
    return 'a password without a user name'; // [MQTT-3.1.2-22]
  }
  if ((will?.qos ?? 0) > 2) return 'a will of QoS 3'; // [MQTT-3.1.2-14]
  return (
    propertiesProblem('connect', properties ?? {}) ??
    propertiesProblem('will', will?.properties ?? {})
  );
}

/** Writes the CONNACK that Aedes has no way to: any code, and why if the client wants to know. */
export function writeRefusal(
  client: Client,
  packet: ConnectPacket,
  code: ReasonCode,
  { message }: Error,
): void {
  const { requestProblemInformation, maximumPacketSize = Infinity } = packet.properties ?? {};
  const reason = requestProblemInformation === false ? undefined : message;
  client.conn.write(refusingConnack(code, reason, maximumPacketSize));
}
