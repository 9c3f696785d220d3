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
import { type Clock, UnreachableError } from '@latchkey/shared';
import type { IClientOptions, MqttClient } from 'mqtt';
import { createAcknowledgements } from './acknowledgements.js';
import type { BrokerConfig, Qos } from './config.js';
import { ConnectRefusedError, OfflineError, PublishRefusedError } from './mqtt-errors.js';

export interface Message {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: Qos;
  readonly isRetained: boolean;
}

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

export interface ConnectOptions {
  readonly broker: BrokerConfig;
  /** User name and client identifier. */
  readonly clientId: string;
  /** The access token: the password of CONNECT. */
  readonly password: string;
  readonly clock: Clock;
  /** Called for every message from CONNACK on; must not throw. */
  readonly onMessage: (message: Message) => void;
  readonly signal: AbortSignal;
}

const CONNECT_TIMEOUT_MS = 15_000;
const ACK_TIMEOUT_MS = 20_000;
const CLOSE_TIMEOUT_MS = 2000;
/** A close within this time after a QoS 0 message is taken for its refusal. */
const SUSPICION_MS = 2000;

function clientOptions({ broker, clientId, password }: ConnectOptions): IClientOptions {
  const { url, keepaliveSeconds, isCleanSession } = broker;
  const isWebSocket = url.protocol.startsWith('ws');
  const hostname = isWebSocket ? url.hostname : url.hostname.replace(/^\[|\]$/g, '');
  return {
    protocol: url.protocol.slice(0, -1) as 'mqtt' | 'mqtts' | 'ws' | 'wss',
    hostname,
    host: hostname,
    ...(url.port !== '' && { port: Number(url.port) }),
    ...(isWebSocket && { path: url.pathname }),
    clientId,
    username: clientId,
    password: Buffer.from(password), // a string would be printed by the debug log of mqtt-packet
    clean: isCleanSession,
    keepalive: keepaliveSeconds,
    protocolVersion: 4,
    connectTimeout: CONNECT_TIMEOUT_MS,
    reconnectPeriod: 0,
    resubscribe: false,
    queueQoSZero: false,
    log: () => undefined, // its debug log prints CONNECT
  };
}

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

/** Waits for CONNACK. */
function awaitConnack(
  client: MqttClient,
  { broker, signal }: ConnectOptions,
): Promise<{ readonly isSessionPresent: boolean }> {
  return new Promise((resolve, reject) => {
    const { host } = broker.url;
    const abort = (): void => {
      client.stream.destroy();
      reject(signal.reason);
    };
    const settle = (): void => signal.removeEventListener('abort', abort);
    signal.addEventListener('abort', abort);
    client.once('connect', (packet) => {
      settle();
      resolve({ isSessionPresent: packet.sessionPresent });
    });
    client.once('error', (error) => {
      settle();
      client.stream.destroy();
      const code: unknown = 'code' in error ? error.code : undefined;
      reject(
        typeof code === 'number'
          ? new ConnectRefusedError(code)
          : new UnreachableError(`cannot reach the broker ${host}: ${error.message || code}`),
      );
    });
    client.once('close', () => {
      settle();
      reject(new UnreachableError(`the broker ${host} closed the connection without an answer`));
    });
  });
}

/** Opens a connection; resolves at CONNACK 0. */
export async function connectMqtt(options: ConnectOptions): Promise<MqttConnection> {
  const { clock, onMessage, signal } = options;
  // Loaded here and not above, so that the other commands of the program do without its 17 MB.
  const { default: mqtt } = await import('mqtt');
  signal.throwIfAborted();
  const client = mqtt.connect(clientOptions(options));
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
      isClosed = true;
      const end = ending ?? closedBy(failure);
      const isSuspect =
        end.by === 'broker' &&
        lastUnanswered !== undefined &&
        clock.nowMs() - lastUnanswered.atMs <= SUSPICION_MS;
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
    timeoutMs: ACK_TIMEOUT_MS,
    onTimeout: () => {
      ending ??= { by: 'network', detail: `no acknowledgement within ${ACK_TIMEOUT_MS} ms` };
      client.stream.destroy();
    },
  });
  void closed.then((end) => acknowledgements.fail(end));

  const answered = async <Answer>(answer: Promise<Answer>): Promise<Answer> => {
    await Promise.race([answer, closed]);
    if (!client.connected) {
      throw new UnreachableError('the broker closed the connection while subscribing');
    }
    return answer;
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
    subscribe: (filter, qos) =>
      answered(
        new Promise<boolean>((resolve) => {
          client.subscribe(filter, { qos }, (error, grants) => {
            resolve(!error && grants?.every((grant) => grant.qos < 128) === true);
          });
        }),
      ),
    unsubscribe: (filter) =>
      answered(new Promise<void>((resolve) => client.unsubscribe(filter, () => resolve()))),
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
