/**
 * Tells clients of MQTT 5 in the CONNACK the bounds that are kept here.
 *
 * Aedes 2 says what its own settings are; where the host set a tighter bound, that one stands.
 *
 * Units   bytes, counts.
 * Errors  none.
 * Source  MQTT 5 3.2.2.3.3 (Receive Maximum), 3.2.2.3.6 (Maximum Packet Size); DESIGN 9 (I11).
 *
 * @module
 */
import { type Aedes, canMqtt5 } from './aedes-types.js';
import { MAX_WAITING } from './inbound-messages.js';
import type { Limits } from './options.js';

/** Type and length of a packet take up to so many bytes. */
const FIXED_HEADER_BYTES = 5;

interface Settings {
  receiveMaximum: number;
  maximumPacketSize: number;
}

/** 0 stands for no bound. */
const tighter = (own: number, bound: number): number => (own > 0 && own < bound ? own : bound);

export function advertiseLimits(broker: Aedes, { packetBytes, connectBytes }: Limits): void {
  if (!canMqtt5(broker)) return;
  const settings = broker as unknown as Settings;
  settings.receiveMaximum = tighter(settings.receiveMaximum, MAX_WAITING);
  const wholeBytes = packetBytes + FIXED_HEADER_BYTES;
  // Aedes holds the CONNECT to it as well, which has a bound of its own.
  if (wholeBytes >= connectBytes) {
    settings.maximumPacketSize = tighter(settings.maximumPacketSize, wholeBytes);
  }
}
