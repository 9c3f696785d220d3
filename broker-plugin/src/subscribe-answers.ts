/**
 * Answers a SUBSCRIBE of MQTT 5 whose filters are not all granted.
 *
 * Aedes has one code for every refusal, closes the connection over a malformed filter, counts a
 * filter that comes twice once, and stores refused filters along with granted ones. So refused and
 * repeated filters are taken out of the packet before Aedes sees it, and the SUBACK, with a code for
 * each filter as the client wrote it, is written here once Aedes has set up the rest.
 *
 * Units   codes are single bytes.
 * Errors  none.
 * Source  MQTT 5 3.8.4, 3.9.3 [MQTT-3.9.3-1], 4.8.2; STANDARDS 4.3, 4.4, 5.3 (2, 12).
 *
 * @module
 */
import { type Client, isMqtt5, type SubscribePacket, type Subscription } from './aedes-types.js';
import type { Refused, TopicDecision } from './authorize.js';
import { REASON, type ReasonCode } from './mqtt-codes.js';
import { suback } from './mqtt5-packets.js';

export interface SubscribeAnswers {
  /** Takes out of the packet what is refused. */
  screen(client: Client, packet: SubscribePacket): void;
  /** Aedes has set up the others; each has the code of its filter as its QoS. */
  complete(client: Client, subscriptions: readonly Subscription[]): void;
}

/** What is to be answered: by filter, the code or the subscription that will have it. */
interface Pending {
  readonly messageId: number;
  readonly answers: readonly (ReasonCode | Subscription)[];
}

const SHARE = '$share/';
/** Aedes 2.0.0-beta.1 keeps the filters of one packet in a plain object for a moment. */
const UNUSABLE = '__proto__';

function codeOf(topic: string, { reason }: Refused): ReasonCode {
  if (topic.startsWith(SHARE)) return REASON.sharedSubscriptionsNotSupported;
  return reason === 'topic-invalid' ? REASON.topicFilterInvalid : REASON.notAuthorized;
}

export function createSubscribeAnswers(deps: {
  /** Decides, and writes a refusal to the log; `undefined` when there is no live session. */
  readonly decide: (client: Client, subscription: Subscription) => TopicDecision | undefined;
}): SubscribeAnswers {
  const { decide } = deps;
  const pendings = new WeakMap<Subscription, Pending>();

  const write = (client: Client, { messageId, answers }: Pending): void => {
    if (!client.conn.writable) return;
    const codes = answers.map((answer) => (typeof answer === 'number' ? answer : answer.qos));
    client.conn.write(suback(messageId, codes));
  };

  const refusalOf = (client: Client, subscription: Subscription): ReasonCode | undefined => {
    const { topic } = subscription;
    const decision = decide(client, subscription);
    if (decision === undefined) return REASON.notAuthorized;
    if (!decision.allowed) return codeOf(topic, decision);
    return topic === UNUSABLE ? REASON.topicFilterInvalid : undefined;
  };

  return {
    screen: (client, packet) => {
      const { messageId, subscriptions } = packet;
      if (!isMqtt5(client) || messageId === undefined) return;
      const codes = subscriptions.map((one) => refusalOf(client, one));
      /** A filter that comes twice counts as its last. */
      const granted = new Map<string, Subscription>();
      for (const [index, one] of subscriptions.entries()) {
        if (codes[index] === undefined) granted.set(one.topic, one);
      }
      if (granted.size === subscriptions.length) return; // Aedes answers
      const answers = subscriptions.map(
        (one, index) => codes[index] ?? (granted.get(one.topic) as Subscription),
      );
      const pending = { messageId, answers };
      packet.messageId = undefined;
      packet.subscriptions = [...granted.values()];
      const [first] = packet.subscriptions;
      if (first === undefined) write(client, pending);
      else pendings.set(first, pending);
    },
    complete: (client, subscriptions) => {
      const [first] = subscriptions;
      const pending = first && pendings.get(first);
      if (pending !== undefined) write(client, pending);
    },
  };
}
