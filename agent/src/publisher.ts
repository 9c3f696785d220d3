/**
 * Publishes messages one after the other, so that a connection closed by the broker names the one
 * message that it refused; that message is dropped and never sent again.
 *
 * Units   counts.
 * Errors  `PublishRefusedError`: not allowed. `OfflineError`: not now.
 * Source  STANDARDS 4.4 (no publish in a loop); MQTT 3.1.1 3.3.5; invariant I11.
 *
 * @module
 */
import type { Logger } from '@latchkey/shared';
import type { Message, MqttConnection } from './mqtt-connection.js';
import { OfflineError, PublishRefusedError } from './mqtt-errors.js';
import type { StateKeeper } from './state.js';

/** Messages that wait for their turn; more are refused with `OfflineError`. */
const MAX_WAITING = 100;
/** Topics remembered as refused. */
const MAX_REFUSED_TOPICS = 256;
/** One close after a message may be chance, a second one is not. */
const REFUSALS_UNTIL_HELD = 2;

export interface Publisher {
  publish(message: Message): Promise<void>;
  /** Messages go to this connection from now on. */
  attach(connection: MqttConnection): void;
  detach(): void;
  /** Waits until no message is in flight and holds the others back until `release`. */
  pause(): Promise<{ release(): void }>;
  /** Counts a refusal that showed only after `publish` had settled (QoS 0). */
  noteRefused(message: Message): void;
  /** A new token may allow what was refused. */
  forgetRefused(): void;
}

export function createPublisher(deps: {
  readonly logger: Logger;
  readonly state: StateKeeper;
}): Publisher {
  const { logger, state } = deps;
  const refusals = new Map<string, number>();
  let connection: MqttConnection | undefined;
  let isPaused = false;
  let waiting = 0;
  let last: Promise<unknown> = Promise.resolve();

  const noteRefused = ({ topic, qos }: Message): void => {
    state.count('refused');
    state.noteError(`the broker refused a message on ${topic}`);
    const count = refusals.get(topic) ?? 0;
    if (count > 0 || refusals.size < MAX_REFUSED_TOPICS) refusals.set(topic, count + 1);
    logger.warn({ event: 'message.refused', topic, qos }, 'message refused by the broker');
  };

  const send = async (message: Message): Promise<void> => {
    if (connection === undefined) throw new OfflineError('not connected to the broker');
    try {
      await connection.publish(message);
    } catch (error) {
      if (error instanceof PublishRefusedError) noteRefused(message);
      throw error;
    }
    const { topic, qos } = message;
    if (qos > 0) refusals.delete(topic);
    state.count('published');
    logger.debug({ event: 'message.published', topic, qos }, 'message published');
  };

  /** Runs tasks one after the other. */
  const inTurn = <Value>(task: () => Promise<Value>): Promise<Value> => {
    const turn = last.then(task);
    last = turn.catch(() => undefined);
    return turn;
  };

  return {
    publish: async (message) => {
      if ((refusals.get(message.topic) ?? 0) >= REFUSALS_UNTIL_HELD) {
        state.count('refused');
        throw new PublishRefusedError(
          `the broker refused ${message.topic} before; it is tried again with the next token`,
        );
      }
      if (connection === undefined && !isPaused) {
        throw new OfflineError('not connected to the broker');
      }
      if (waiting >= MAX_WAITING) throw new OfflineError('too many messages wait to be sent');
      waiting += 1;
      try {
        await inTurn(() => send(message));
      } finally {
        waiting -= 1;
      }
    },
    attach: (next) => {
      connection = next;
    },
    detach: () => {
      connection = undefined;
    },
    pause: () => {
      isPaused = true;
      return new Promise((resolve) => {
        void inTurn(
          () =>
            new Promise<void>((release) => {
              resolve({
                release: () => {
                  isPaused = false;
                  release();
                },
              });
            }),
        );
      });
    },
    noteRefused,
    forgetRefused: () => refusals.clear(),
  };
}
