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
import { type Client, isMqtt5, type SubscribePacket } from './aedes-types.js';
import { REASON, type ReasonCode } from './mqtt-codes.js';
import type { Limits } from './options.js';
import { propertiesProblem } from './packet-properties.js';

/** The parser, as far as it is used here; its methods are looked up by name at each step. */
interface Parser {
  readonly client: Client;
  readonly error: Error | null;
  readonly packet: SubscribePacket & { readonly cmd: string; readonly length: number };
  _parseLength(): boolean;
  _parseSubscribe(): unknown;
  _parseProperties(): object | false;
  _emitError(error: Error): void;
}
type Methods = Pick<Parser, '_parseLength' | '_parseSubscribe' | '_parseProperties' | '_emitError'>;
const NAMES = ['_parseLength', '_parseSubscribe', '_parseProperties', '_emitError'] as const;

/** Sets the bounds; `false` when the parser is not the one known here, which must refuse the client. */
export type LimitPackets = (client: Client) => boolean;

export function createPacketLimits(deps: {
  readonly limits: Limits;
  /** Hears what MQTT 5 can be told before the connection is closed. */
  readonly onProblem: (client: Client, code: ReasonCode) => void;
  /** Hears of each SUBSCRIBE of MQTT 5, before Aedes does. */
  readonly onSubscribe: (client: Client, packet: SubscribePacket) => void;
}): LimitPackets {
  const { limits, onProblem, onSubscribe } = deps;

  /** Made once: sessions are many, and share them. */
  const bounded = (own: Methods): Methods => {
    const fail = (parser: Parser, code: ReasonCode, problem: string): void => {
      if (parser.error) return; // one packet, one problem
      onProblem(parser.client, code);
      own._emitError.call(parser, new Error(problem));
    };
    return {
      _emitError(this: Parser, error) {
        if (this.error) return;
        onProblem(this.client, REASON.malformedPacket);
        own._emitError.call(this, error);
      },
      _parseLength(this: Parser) {
        const isRead = own._parseLength.call(this);
        if (!isRead || this.packet.length <= limits.packetBytes) return isRead;
        fail(this, REASON.packetTooLarge, `a packet exceeds ${limits.packetBytes} bytes`);
        return false;
      },
      _parseProperties(this: Parser) {
        const properties = own._parseProperties.call(this);
        const problem = properties ? propertiesProblem(this.packet.cmd, properties) : undefined;
        if (problem !== undefined) fail(this, REASON.protocolError, problem);
        return properties;
      },
      _parseSubscribe(this: Parser) {
        own._parseSubscribe.call(this);
        if (this.error) return;
        if (this.packet.subscriptions.length > limits.filtersPerSubscribe) {
          const problem = `a SUBSCRIBE has over ${limits.filtersPerSubscribe} filters`;
          fail(this, REASON.quotaExceeded, problem);
        } else if (isMqtt5(this.client)) onSubscribe(this.client, this.packet);
      },
    };
  };

  const known = new WeakMap<object, Methods>();
  const methodsOf = (prototype: Partial<Methods>): Methods | undefined => {
    const made = known.get(prototype);
    if (made !== undefined) return made;
    if (NAMES.some((name) => typeof prototype[name] !== 'function')) return undefined;
    const methods = bounded(prototype as Methods);
    known.set(prototype, methods);
    return methods;
  };

  return (client) => {
    const { _parser: parser } = client as unknown as { _parser?: Parser };
    if (parser === undefined || parser.client !== client) return false;
    const methods = methodsOf(Object.getPrototypeOf(parser) as Partial<Methods>);
    if (methods === undefined) return false;
    if (isMqtt5(client)) Object.assign(parser, methods);
    else {
      parser._parseLength = methods._parseLength;
      parser._parseSubscribe = methods._parseSubscribe;
    }
    return true;
  };
}
