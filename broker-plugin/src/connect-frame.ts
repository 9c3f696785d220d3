/**
 * Where the first packet of a connection ends, read from its fixed header alone.
 *
 * Units   bytes.
 * Errors  none; a `FrameProblem` says why the connection must be closed.
 * Source  MQTT 3.1.1 2.2.2, 2.2.3, [MQTT-3.1.0-1]; STANDARDS 5.3 (10).
 *
 * @module
 */

export type FrameProblem = 'not-connect' | 'connect-malformed' | 'connect-too-large';

/** Type 1 (CONNECT) in the upper half, and reserved flags that must be 0 [MQTT-2.2.2-2]. */
const CONNECT_BYTE = 0x10;
const MAX_LENGTH_BYTES = 4;

/**
 * Length of the CONNECT packet that `head` begins with, fixed header included; `undefined` while
 * more bytes are needed to tell (five are always enough).
 */
export function connectFrameLength(
  head: Uint8Array,
  maxBytes: number,
): number | FrameProblem | undefined {
  if (head.length === 0) return undefined;
  if (head[0] !== CONNECT_BYTE) return 'not-connect';
  let remaining = 0;
  for (let i = 0; i < MAX_LENGTH_BYTES; i += 1) {
    const byte = head[i + 1];
    if (byte === undefined) return undefined;
    remaining += (byte & 0x7f) * 128 ** i;
    if ((byte & 0x80) === 0) {
      const length = 2 + i + remaining;
      return length <= maxBytes ? length : 'connect-too-large';
    }
  }
  return 'connect-malformed';
}
