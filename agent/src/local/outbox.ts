/**
 * `GET /outbox` lists the oldest messages that wait; `DELETE /outbox` and `DELETE /outbox/SEQUENCE` drop them.
 *
 * Units   sizes in bytes, NumericDate.
 * Errors  none; the answer tells.
 * Source  `outbox.ts`.
 *
 * @module
 */
import { OutboxFullError } from '../mqtt-errors.js';
import type { Outbox, OutboxMessage } from '../outbox.js';
import { type Answer, refusal } from './answer.js';

const MAX_LISTED = 100;

export interface OutboxDeps {
  readonly outbox: Pick<Outbox, 'list' | 'drop' | 'messages' | 'bytes'>;
}

function listed({ sequence, lane, topic, payload, qos, acceptedAt }: OutboxMessage): object {
  const accepted = acceptedAt ?? null;
  return { sequence, lane, topic, qos, bytes: payload.length, accepted_at: accepted };
}

export function answerOutboxList({ outbox }: OutboxDeps): Answer {
  const { messages, bytes } = outbox;
  return { status: 200, body: { messages, bytes, oldest: outbox.list(MAX_LISTED).map(listed) } };
}

export async function answerOutboxDrop(
  which: { readonly sequence: number } | 'all',
  { outbox }: OutboxDeps,
): Promise<Answer> {
  try {
    return { status: 200, body: { dropped: await outbox.drop(which) } };
  } catch (error) {
    if (error instanceof OutboxFullError) return refusal(507, 'outbox_full', error.message);
    throw error;
  }
}
