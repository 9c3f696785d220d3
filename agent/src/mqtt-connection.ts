/**
 * One MQTT connection from CONNECT to close. It never reconnects and never sends a message twice:
 * MQTT.js would do both by itself, for ever, and hide which message the broker refused.
 *
 * Units   milliseconds, sizes in bytes.
 * Errors  `ConnectRefusedError`, `UnreachableError` (connecting); `PublishRefusedError`,
 *         `OfflineError` (publishing).
 * Source  MQTT 3.1.1; STANDARDS 4.4; RFC 9431 6.2 (a refused publish closes the connection).
 *
 * @module
 */
import { UnreachableError } from '@latchkey/shared';
import { createAcknowledgements } from './acknowledgements.js';
import type { Qos } from './config.js';
import { awaitConnack, type ConnectOptions, type Message, openClient } from './mqtt-client.js';
import { OfflineError, PublishRefusedError } from './mqtt-errors.js';

export type { Message } from './mqtt-client.js';

export interface Closed {
  /** Who ended it: `network` is a time-out or a broken line. */
  readonly by: 'broker' | 'us' | 'network';
  readonly detail: string;
  /** The message after which the broker closed at once: most likely it was refused. QoS 0 only. */
  readonly suspect?: Message | undefined;
}

export interface MqttConnection {
  /** Whether the broker still knows our subscriptions of the connection before. */
  readonly isSessionPresent: boolean;
  /** Settles at PUBACK (QoS 1), PUBCOMP (QoS 2) or the write (QoS 0). */
  publish(message: Message): Promise<void>;
  /** Whether the broker granted the filter. */
  subscribe(filter: string, qos: Qos): Promise<boolean>;
  unsubscribe(filter: string): Promise<void>;
  readonly closed: Promise<Closed>;
  /** Sends DISCONNECT and ends. */
  close(): Promise<void>;
}

const CLOSE_TIMEOUT_MS = 2000;
/** A close within this time after a QoS 0 message is taken for its refusal. */
const SUSPICION_MS = 2000;

/** Errors of the socket by which a refusing broker may show: it closes while we are writing. */
const CLOSED_BY_PEER: readonly unknown[] = ['ECONNRESET', 'EPIPE'];

/** How a connection ended, judged by its first error; none means that the broker just closed it. */
function closedBy(failure: (Error & { readonly code?: unknown }) | undefined): Closed {
  if (failure === undefined || CLOSED_BY_PEER.includes(failure.code)) {
    return { by: 'broker', detail: 'the broker closed the connection' };
  }
  return { by: 'network', detail: `connection lost: ${failure.message}` };
}

/** What becomes of a message that was not answered. */
function failureOf({ by, detail }: Closed, topic: string): Error {
  if (by !== 'broker') return new OfflineError(detail);
  return new PublishRefusedError(
    `the broker closed the connection instead of accepting a message on ${topic}: ` +
      'this device has no right to publish it, or the broker was stopped',
  );
}

/** Opens a connection; resolves at CONNACK 0. */
export async function connectMqtt(options: ConnectOptions): Promise<MqttConnection> {
  const { broker, clock, onMessage } = options;
  const client = await openClient(options);
  /** Set when we end the connection. */
  let ending: Closed | undefined;
  let isClosed = false;
  let lastUnanswered: { readonly message: Message; readonly atMs: number } | undefined;

  const closed = new Promise<Closed>((resolve) => {
    let failure: Error | undefined;
    client.on('error', (error) => {
      failure ??= error;
      if (client.connected) client.stream.destroy(); // broke the protocol: nothing good follows
    });
    client.once('close', () => {
      const end = ending ?? closedBy(failure);
      const isSuspect =
        end.by === 'broker' &&
        lastUnanswered !== undefined &&
        clock.nowMs() - lastUnanswered.atMs <= SUSPICION_MS;
      isClosed = true;
      resolve(isSuspect ? { ...end, suspect: lastUnanswered?.message } : end);
    });
  });
  client.on('message', (topic, payload, { qos, retain }) =>
    onMessage({ topic, payload, qos, isRetained: retain }),
  );
  client.on('packetreceive', ({ cmd }) => {
    // Packets are answered in order, so an answer to a later one clears the message before it.
    if (cmd !== 'publish') lastUnanswered = undefined;
  });
  const { isSessionPresent } = await awaitConnack(client, options);

  const acknowledgements = createAcknowledgements<Closed>({
    clock,
    timeoutMs: broker.answerTimeoutSeconds * 1000,
    onTimeout: () => {
      const detail = `the broker gave no answer within ${broker.answerTimeoutSeconds} s`;
      ending ??= { by: 'network', detail };
      client.stream.destroy();
    },
  });
  void closed.then((end) => acknowledgements.fail(end));

  /** Answers of others than PUBLISH: when the connection ends instead, that is all there is to say. */
  const answered = async (ask: (answered: () => void) => void): Promise<void> => {
    const failure = ({ detail }: Pick<Closed, 'detail'>): Error =>
      new UnreachableError(`${detail}, while subscribing`);
    const gone = { detail: 'the connection ended' };
    if (!client.connected) throw failure(gone);
    await acknowledgements.wait(ask, failure);
    if (!client.connected) throw failure(gone);
  };

  return {
    isSessionPresent,
    closed,
    publish: async (message) => {
      if (!client.connected || ending !== undefined)
        throw new OfflineError('not connected to the broker');
      const { topic, payload, qos, isRetained } = message;
      if (qos === 0) lastUnanswered = { message, atMs: clock.nowMs() };
      await acknowledgements.wait(
        (acknowledged) =>
          client.publish(topic, payload, { qos, retain: isRetained }, (error) => {
            if (!error) acknowledged(); // MQTT.js fails messages only when it is closing
          }),
        (end) => failureOf(end, topic),
      );
    },
    subscribe: async (filter, qos) => {
      let isGranted = false;
      await answered((done) => {
        client.subscribe(filter, { qos }, (error, grants) => {
          isGranted = !error && grants?.every((grant) => grant.qos < 128) === true;
          done();
        });
      });
      return isGranted;
    },
    unsubscribe: (filter) => answered((done) => client.unsubscribe(filter, () => done())),
    close: async () => {
      if (isClosed) return;
      ending = { by: 'us', detail: 'closed' };
      const timer = new AbortController();
      client.end(false);
      await Promise.race([
        closed,
        clock.sleep(CLOSE_TIMEOUT_MS, timer.signal).catch(() => undefined),
      ]);
      timer.abort();
      client.stream.destroy();
      await closed;
    },
  };
}
