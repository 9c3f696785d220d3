/**
 * Sends what is in the outbox: in order, several messages at once, each until the broker has it.
 *
 * A message that the token does not allow is never sent. What a broker refuses all the same it can say,
 * in MQTT 3.1.1, only by closing the connection; the messages that were on their way are then sent one
 * at a time, so that the one at fault shows, and that one is dropped and never sent again.
 *
 * Units   counts, milliseconds.
 * Errors  `PublishRefusedError`: not allowed. `OutboxFullError`: not kept. `OfflineError`: not sent in time.
 * Source  DESIGN 7 (outbox); STANDARDS 4.4 (no publish in a loop); MQTT 3.1.1 3.3.5, 4.6.
 *
 * @module
 */
import { type Clock, decide, type Logger, type TopicRights } from '@latchkey/shared';
import type { Closed, Message, MqttConnection } from './mqtt-connection.js';
import { OfflineError, PublishRefusedError } from './mqtt-errors.js';
import type { Dropped, Outbox, OutboxMessage } from './outbox.js';
import type { StateKeeper } from './state.js';

/** Messages on their way at once. */
const WINDOW = 64;
/** How often the broker must close after a message, the last time after it alone: less may be chance. */
const CLOSES_UNTIL_REFUSED = 3;
/** A close later than this after the message was sent has another reason. */
const SUSPICION_MS = 2000;
/** Senders that wait for the broker's answer. */
const MAX_WAITING = 100;
/** Topics whose refusal was logged; it is logged once for each token. */
const MAX_LOGGED_TOPICS = 256;

export interface Publisher {
  /** Resolves once the message is safe on disk; it is sent when the broker can be reached. */
  publish(message: Message): Promise<void>;
  /** Resolves when the broker has it; rejects with `OfflineError` when that takes too long. */
  publishAndWait(message: Message, timeoutMs: number): Promise<void>;
  /** Messages go to this connection from now on. */
  attach(connection: MqttConnection): void;
  detach(): void;
  /** Waits until no message is on its way and holds the others back until `release`. */
  pause(): Promise<{ release(): void }>;
  /** Resolves when the outbox is empty, or nothing can be sent now. */
  drained(): Promise<void>;
  /** What the present token allows; `undefined`: it does not say. */
  setRights(rights: TopicRights | undefined): void;
  /** A message that left the outbox without the broker's acknowledgement. */
  noteDropped(sequence: number, why: Dropped): void;
  /** Counts a refusal that showed only after the message had left (QoS 0). */
  noteRefused(message: Message): void;
}

interface Sent {
  readonly message: OutboxMessage;
  readonly atMs: number;
}

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export function createPublisher(deps: {
  readonly outbox: Outbox;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly state: StateKeeper;
}): Publisher {
  const { outbox, clock, logger, state } = deps;
  const onTheWay = new Map<number, Sent>();
  const waiters = new Map<number, Waiter>();
  /** How often the broker closed after a message that is not sent yet. */
  const closes = new Map<number, number>();
  const loggedTopics = new Set<string>();
  let rights: TopicRights | undefined;
  let connection: MqttConnection | undefined;
  let isPaused = false;
  let onQuiet: (() => void) | undefined;
  const onDrained = new Set<() => void>();

  const tellDrained = (): void => {
    if (connection !== undefined && outbox.messages > 0) return;
    for (const resolve of onDrained) resolve();
    onDrained.clear();
  };

  const settle = (sequence: number, error?: Error): void => {
    const waiter = waiters.get(sequence);
    waiters.delete(sequence);
    if (error === undefined) waiter?.resolve();
    else waiter?.reject(error);
  };

  const noteRefused = ({ topic, qos }: Message): void => {
    state.count('refused');
    state.noteError(`a message on ${topic} was refused`);
    const isLogged = loggedTopics.has(topic) || loggedTopics.size >= MAX_LOGGED_TOPICS;
    loggedTopics.add(topic);
    const level = isLogged ? 'debug' : 'warn';
    logger[level]({ event: 'message.refused', topic, qos }, 'message refused');
  };

  /** Why the present token does not allow the message. */
  const refusalOf = (message: Message): PublishRefusedError | undefined => {
    if (rights === undefined) return undefined;
    const { topic, qos, isRetained: retain } = message;
    const decision = decide(rights, { action: 'publish', topic, qos, retain });
    return decision.allowed
      ? undefined
      : new PublishRefusedError(
          `this device has no right to publish on ${topic}: ${decision.detail}`,
        );
  };

  const dropRefused = (message: OutboxMessage, error: PublishRefusedError): void => {
    outbox.remove(message.sequence);
    closes.delete(message.sequence);
    noteRefused(message);
    settle(message.sequence, error);
  };

  const send = async (to: MqttConnection, message: OutboxMessage): Promise<void> => {
    const { sequence, topic, qos } = message;
    onTheWay.set(sequence, { message, atMs: clock.nowMs() });
    try {
      await to.publish(message);
      outbox.remove(sequence);
      closes.delete(sequence);
      state.count('published');
      logger.debug({ event: 'message.published', topic, qos }, 'message published');
      settle(sequence);
    } catch (error) {
      if (!(error instanceof OfflineError || error instanceof PublishRefusedError)) throw error;
      // It stays in the outbox; `judgeClose` says what becomes of it.
    } finally {
      onTheWay.delete(sequence);
      if (onTheWay.size === 0) onQuiet?.();
      pump();
      tellDrained();
    }
  };

  const pump = (): void => {
    for (;;) {
      const window = closes.size > 0 ? 1 : WINDOW;
      if (connection === undefined || isPaused || onTheWay.size >= window) return;
      const message = outbox.take();
      if (message === undefined) return;
      if (onTheWay.has(message.sequence)) continue;
      const refusal = refusalOf(message);
      if (refusal === undefined) void send(connection, message);
      else dropRefused(message, refusal);
    }
  };

  const judgeClose = ({ by }: Closed): void => {
    if (by !== 'broker') return;
    const now = clock.nowMs();
    const suspects = [...onTheWay.values()].filter(({ atMs }) => now - atMs <= SUSPICION_MS);
    for (const { message } of suspects) {
      const { sequence, topic } = message;
      const count = (closes.get(sequence) ?? 0) + 1;
      closes.set(sequence, count);
      if (suspects.length > 1 || count < CLOSES_UNTIL_REFUSED) continue;
      const text = `the broker closed the connection ${count} times instead of accepting a message on ${topic}`;
      dropRefused(message, new PublishRefusedError(text));
    }
  };

  const accept = async (message: Message): Promise<number> => {
    const refusal = refusalOf(message);
    if (refusal !== undefined) {
      noteRefused(message);
      throw refusal;
    }
    const sequence = await outbox.accept(message);
    // Later, since whoever waits for the answer has to be there before it comes.
    setImmediate(pump);
    return sequence;
  };

  return {
    publish: async (message) => {
      await accept(message);
    },
    publishAndWait: async (message, timeoutMs) => {
      const sequence = await accept(message);
      if (waiters.size >= MAX_WAITING)
        throw new OfflineError('accepted; too many programs wait for the broker already');
      const timer = new AbortController();
      const answered = new Promise<void>((resolve, reject) => {
        waiters.set(sequence, { resolve, reject });
      });
      const late = clock.sleep(timeoutMs, timer.signal).then(
        () => {
          throw new OfflineError('accepted; the broker has not acknowledged it yet');
        },
        () => undefined,
      );
      try {
        await Promise.race([answered, late]);
      } finally {
        waiters.delete(sequence);
        timer.abort();
      }
    },
    attach: (next) => {
      connection = next;
      // Before the messages on their way fail, so that it sees which they are.
      void next.closed.then((closed) => {
        if (connection === next) connection = undefined;
        judgeClose(closed);
        tellDrained();
      });
      outbox.rewind();
      pump();
    },
    detach: () => {
      connection = undefined;
      tellDrained();
    },
    drained: () =>
      new Promise((resolve) => {
        onDrained.add(resolve);
        tellDrained();
      }),
    pause: () => {
      isPaused = true;
      return new Promise((resolve) => {
        onQuiet = () => {
          onQuiet = undefined;
          resolve({
            release: () => {
              isPaused = false;
              pump();
            },
          });
        };
        if (onTheWay.size === 0) onQuiet();
      });
    },
    setRights: (next) => {
      rights = next;
      loggedTopics.clear();
    },
    noteDropped: (sequence, why) => {
      state.count('dropped');
      closes.delete(sequence);
      settle(sequence, new OfflineError(`dropped from the outbox (${why})`));
    },
    noteRefused,
  };
}
