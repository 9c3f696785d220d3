/**
 * Bounds the packets of an accepted session: their size, and the filters of one SUBSCRIBE.
 *
 * Aedes buffers a packet of up to 256 MB before any hook hears of it, and looks through all retained
 * messages once for each filter. The parser of each connection is asked at the two places where it
 * knows: after the length, and after the list of filters. That costs nothing per byte.
 *
 * Units   bytes, counts.
 * Errors  none thrown; a packet beyond a bound is a parser error, and Aedes closes the connection.
 * Source  STANDARDS 5.3 (10, 19); mqtt-packet 9 `parser.js`; DESIGN 9 (I11).
 *
 * @module
 */
import type { Client } from './aedes-types.js';
import type { Limits } from './options.js';

/** The parser, as far as it is used here; its methods are looked up by name at each step. */
interface Parser {
  packet: { length: number; subscriptions?: readonly unknown[] };
  _parseLength(): boolean;
  _parseSubscribe(): unknown;
  _emitError(error: Error): void;
}

/** Sets the bounds; `false` when the parser is not the one known here, which must refuse the client. */
export function limitPackets(client: Client, limits: Limits): boolean {
  const parser = (client as unknown as { _parser?: Partial<Parser> })._parser as Parser | undefined;
  const parseLength = parser?._parseLength;
  const parseSubscribe = parser?._parseSubscribe;
  const isKnown =
    parser !== undefined &&
    typeof parseLength === 'function' &&
    typeof parseSubscribe === 'function' &&
    typeof parser._emitError === 'function';
  if (!isKnown) return false;

  parser._parseLength = () => {
    const isRead = parseLength.call(parser);
    if (!isRead || parser.packet.length <= limits.packetBytes) return isRead;
    parser._emitError(new Error(`a packet exceeds ${limits.packetBytes} bytes`));
    return false;
  };
  parser._parseSubscribe = () => {
    parseSubscribe.call(parser);
    const count = parser.packet.subscriptions?.length ?? 0;
    if (count > limits.filtersPerSubscribe) {
      parser._emitError(new Error(`a SUBSCRIBE has over ${limits.filtersPerSubscribe} filters`));
    }
  };
  return true;
}
