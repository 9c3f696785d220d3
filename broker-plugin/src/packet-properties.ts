/**
 * Which properties of MQTT 5 a client may send in which packet, and what is wrong with others.
 *
 * The parser takes any property in any packet, and one that comes twice as a list. Aedes hands the
 * properties of a publication on to every subscriber as they are: a property that has no business
 * there, or cannot be written again, would cost them their connections. A session expiry that is a
 * list ends the process.
 *
 * Units   none.
 * Errors  none; a text says what is wrong.
 * Source  MQTT 5 2.2.2.2, 1.5.4 [MQTT-1.5.4-2], [MQTT-3.3.4-6]; mqtt-packet 9 `parser.js`.
 *
 * @module
 */

const USER = 'userProperties';
const MESSAGE = [
  USER,
  'payloadFormatIndicator',
  'messageExpiryInterval',
  'contentType',
  'responseTopic',
  'correlationData',
];

const ALLOWED: ReadonlyMap<string, ReadonlySet<string>> = new Map(
  Object.entries({
    connect: [
      USER,
      'sessionExpiryInterval',
      'receiveMaximum',
      'maximumPacketSize',
      'topicAliasMaximum',
      'requestResponseInformation',
      'requestProblemInformation',
      'authenticationMethod',
      'authenticationData',
    ],
    will: [...MESSAGE, 'willDelayInterval'],
    publish: [...MESSAGE, 'topicAlias'],
    puback: [USER, 'reasonString'],
    pubrec: [USER, 'reasonString'],
    pubrel: [USER, 'reasonString'],
    pubcomp: [USER, 'reasonString'],
    subscribe: [USER, 'subscriptionIdentifier'],
    unsubscribe: [USER],
    disconnect: [USER, 'sessionExpiryInterval', 'reasonString'],
    auth: [USER, 'reasonString', 'authenticationMethod', 'authenticationData'],
  }).map(([packet, names]) => [packet, new Set(names)]),
);

const isText = (value: unknown): boolean => typeof value === 'string' && !value.includes('\0');

/** The parser answers `null`, `-1` or `false` where a value is cut short; a byte is a boolean. */
function isWhole(name: string, value: unknown): boolean {
  if (typeof value === 'string') return isText(value);
  if (typeof value === 'number') return value >= 0;
  if (typeof value === 'boolean') return name !== 'subscriptionIdentifier';
  return value instanceof Uint8Array;
}

function areTexts(pairs: object): boolean {
  return Object.entries(pairs).every(
    ([name, value]) => isText(name) && [value].flat().every(isText),
  );
}

/** What is wrong with the properties of a packet; `will` is a part of CONNECT with its own. */
export function propertiesProblem(packet: string, properties: object): string | undefined {
  const allowed = ALLOWED.get(packet);
  for (const [name, value] of Object.entries(properties)) {
    if (allowed?.has(name) !== true) return `the property ${name} is not for ${packet}`;
    if (name === USER) {
      if (!areTexts(value)) return 'a user property is malformed';
    } else if (Array.isArray(value)) {
      return `the property ${name} comes twice`;
    } else if (!isWhole(name, value)) {
      return `the property ${name} is malformed`;
    }
  }
  return undefined;
}
