/**
 * Bounds the packets of an accepted session: their size, their properties, and the filters of one
 * SUBSCRIBE.
 *
 * Aedes buffers a packet of up to 256 MB before any hook hears of it, and looks through all retained
 * messages once for each filter. The parser of each connection is asked at the places where it
 * knows: after the length, after properties, and after the list of filters. That costs nothing per
 * byte.
 *
 * Units   bytes, counts.
 * Errors  none thrown; a packet beyond a bound is a parser error, and Aedes closes the connection.
 * Source  STANDARDS 5.3 (10, 19); mqtt-packet 9 `parser.js`; DESIGN 9 (I11).
 *
 * @module
 */
import type { Client, SubscribePacket } from './aedes-types.js';
import { REASON, type ReasonCode } from './mqtt-codes.js';
import type { Limits } from './options.js';
import { propertiesProblem } from './packet-properties.js';

/** The parser, as far as it is used here; its methods are looked up by name at each step. */
interface Parser {
  readonly error: Error | null;
  packet: { cmd: string; length: number; subscriptions?: readonly unknown[] };
  _parseLength(): boolean;
  _parseSubscribe(): unknown;
  _parseProperties(): object | false;
  _emitError(error: Error): void;
}
const METHODS = ['_parseLength', '_parseSubscribe', '_parseProperties', '_emitError'] as const;

/** Sets the bounds; `false` when the parser is not the one known here, which must refuse the client. */
export function limitPackets(
  client: Client,
  limits: Limits,
  on: {
    /** Hears what MQTT 5 can be told before the connection is closed. */
    readonly problem: (code: ReasonCode) => void;
    /** Hears of each SUBSCRIBE, before Aedes does. */
    readonly subscribe: (packet: SubscribePacket) => void;
  },
): boolean {
  const parser = (client as unknown as { _parser?: Partial<Parser> })._parser as Parser | undefined;
  if (parser === undefined || METHODS.some((name) => typeof parser[name] !== 'function')) {
    return false;
  }
  const { _parseLength, _parseSubscribe, _parseProperties, _emitError } = parser;
  let code: ReasonCode = REASON.malformedPacket;
  const fail = (reason: ReasonCode, problem: string): void => {
    code = reason;
    parser._emitError(new Error(problem));
  };

  parser._emitError = (error) => {
    if (parser.error) return; // one packet, one problem
    on.problem(code);
    _emitError.call(parser, error);
  };
  parser._parseLength = () => {
    const isRead = _parseLength.call(parser);
    if (!isRead || parser.packet.length <= limits.packetBytes) return isRead;
    fail(REASON.packetTooLarge, `a packet exceeds ${limits.packetBytes} bytes`);
    return false;
  };
  parser._parseProperties = () => {
    const properties = _parseProperties.call(parser);
    const problem = properties ? propertiesProblem(parser.packet.cmd, properties) : undefined;
    if (problem !== undefined) fail(REASON.protocolError, problem);
    return properties;
  };
  parser._parseSubscribe = () => {
    _parseSubscribe.call(parser);
    if (parser.error) return;
    const count = parser.packet.subscriptions?.length ?? 0;
    if (count > limits.filtersPerSubscribe) {
      const problem = `a SUBSCRIBE has over ${limits.filtersPerSubscribe} filters`;
      fail(REASON.quotaExceeded, problem);
      return;
    }
    on.subscribe(parser.packet as unknown as SubscribePacket);
  };
  return true;
}
