/**
 * Client identifiers of MQTT: the client id, and for one connection of several `client_id@instance`.
 *
 * Units   lengths in characters.
 * Errors  `FormatError`.
 * Source  DESIGN 4 (CONNECT); STANDARDS 4.1.
 *
 * @module
 */
import { type ClientId, FormatError, parseClientId } from '@latchkey/shared';

export interface MqttClientId {
  readonly clientId: ClientId;
  /** `undefined`: there is none. */
  readonly instance: string | undefined;
}

/** Not in a client id, so that no instance of a client has the id of another. */
const SEPARATOR = '@';
const INSTANCE = /^[A-Za-z0-9._:-]{1,32}$/;

export function parseMqttClientId(text: string): MqttClientId {
  const at = text.indexOf(SEPARATOR);
  if (at === -1) return { clientId: parseClientId(text), instance: undefined };
  const instance = text.slice(at + 1);
  if (!INSTANCE.test(instance)) {
    throw new FormatError('instance', 'must be 1 to 32 characters of A-Z a-z 0-9 . _ : -');
  }
  return { clientId: parseClientId(text.slice(0, at)), instance };
}
