/**
 * Payloads that the agent makes itself: readings, and results of actions.
 *
 * Units   none.
 * Errors  none, for values that are not nested deeper than readings may be.
 * Source  RFC 8259 (JSON); RFC 8949 (CBOR).
 *
 * @module
 */
import { encodeCbor, type JsonValue } from './cbor.js';
import type { PayloadFormat } from './config.js';

/** Members that are `undefined` are left out. */
export function encodePayload(value: JsonValue, format: PayloadFormat): Buffer {
  return format === 'cbor' ? encodeCbor(value) : Buffer.from(JSON.stringify(value));
}
