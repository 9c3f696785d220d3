/**
 * `POST /publish`: one message, or an array of messages, which are kept in their order.
 *
 * `{topic, payload | payload_base64, qos, retain, wait}` answers 202 once the message is safe in the outbox;
 * with `wait` 200 after the broker's acknowledgement, and 202 when that takes long. 403: this device or
 * this socket may not. 507: it cannot be kept. An array answers 207 with the answer of each message.
 *
 * Units   milliseconds, counts.
 * Errors  `RequestError`.
 * Source  invariant I10: what was answered with 2xx survives a power cut.
 *
 * @module
 */
import { parsedBy, parseTopicName } from '@latchkey/shared';
import * as v from 'valibot';
import { OfflineError, OutboxFullError, PublishRefusedError } from '../mqtt-errors.js';
import type { Publisher } from '../publisher.js';
import { type Answer, parseValue, refusal } from './answer.js';
import { mayPublish, type Rules } from './rules.js';

/** Shorter than our clients wait for the answer. */
const ACKNOWLEDGE_TIMEOUT_MS = 30_000;
/** Messages of one request; as many may wait for the broker. */
const MAX_MESSAGES = 1000;

const messageSchema = v.pipe(
  v.strictObject({
    topic: v.pipe(
      v.string(),
      parsedBy((value) => parseTopicName(value)),
    ),
    payload: v.optional(v.string()),
    payload_base64: v.optional(v.pipe(v.string(), v.base64('must be base64'))),
    qos: v.optional(v.picklist([0, 1, 2]), 1),
    retain: v.optional(v.boolean(), false),
    wait: v.optional(v.boolean(), false),
  }),
  v.check(
    (body) => body.payload === undefined || body.payload_base64 === undefined,
    'payload and payload_base64 exclude each other',
  ),
);
const messagesSchema = v.pipe(
  v.array(messageSchema),
  v.minLength(1, 'must not be empty'),
  v.maxLength(MAX_MESSAGES, `must not exceed ${MAX_MESSAGES} messages`),
);

export interface PublishDeps {
  readonly publisher: Pick<Publisher, 'publish' | 'publishAndWait'>;
}

type RequestedMessage = v.InferOutput<typeof messageSchema>;

async function publishOne(
  { topic, payload, payload_base64: base64, qos, retain: isRetained, wait }: RequestedMessage,
  rules: Rules,
  { publisher }: PublishDeps,
): Promise<Answer> {
  if (!mayPublish(rules, topic)) {
    return refusal(403, 'refused', `the rules of this socket do not allow to publish on ${topic}`);
  }
  const bytes = base64 === undefined ? Buffer.from(payload ?? '') : Buffer.from(base64, 'base64');
  const message = { topic, payload: bytes, qos, isRetained };
  try {
    if (wait) await publisher.publishAndWait(message, ACKNOWLEDGE_TIMEOUT_MS);
    else await publisher.publish(message);
  } catch (error) {
    if (error instanceof PublishRefusedError) return refusal(403, 'refused', error.message);
    if (error instanceof OutboxFullError) return refusal(507, 'outbox_full', error.message);
    if (error instanceof OfflineError) {
      return { status: 202, body: { topic, qos, is_acknowledged: false, detail: error.message } };
    }
    throw error;
  }
  return { status: wait ? 200 : 202, body: { topic, qos, is_acknowledged: wait } };
}

export async function answerPublish(
  body: unknown,
  rules: Rules,
  deps: PublishDeps,
): Promise<Answer> {
  if (!Array.isArray(body)) return publishOne(parseValue(messageSchema, body), rules, deps);
  const messages = parseValue(messagesSchema, body);
  // All are handed over before any is awaited: in their order, and in one commit.
  const answers = await Promise.all(messages.map((message) => publishOne(message, rules, deps)));
  return {
    status: 207,
    body: { results: answers.map(({ status, body: result }) => ({ status, ...result })) },
  };
}
