/**
 * MQTT.js up to CONNACK: the options that keep it from doing anything by itself, and the answer.
 *
 * Units   milliseconds.
 * Errors  `ConnectRefusedError`, `UnreachableError`.
 * Source  MQTT 3.1.1 3.1 and 3.2; STANDARDS 1.1 (the broker is authenticated by TLS).
 *
 * @module
 */
import { readFile } from 'node:fs/promises';
import { type Clock, UnreachableError } from '@latchkey/shared';
import type { IClientOptions, MqttClient } from 'mqtt';
import type { BrokerConfig, Qos } from './config.js';
import { ConnectRefusedError } from './mqtt-errors.js';

export interface Message {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: Qos;
  readonly isRetained: boolean;
}

export interface ConnectOptions {
  readonly url: URL;
  readonly broker: BrokerConfig;
  /** User name and client identifier. */
  readonly clientId: string;
  /** The access token: the password of CONNECT. */
  readonly password: string;
  readonly will: Message | undefined;
  readonly clock: Clock;
  /** Called for every message from CONNACK on; must not throw. */
  readonly onMessage: (message: Message) => void;
  readonly signal: AbortSignal;
}

/** The certificate authorities, read at each connection so that a new file needs no restart. */
export async function readCa(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
    throw new UnreachableError(`broker.ca_file ${file} cannot be read (${code})`);
  }
}

function clientOptions(
  { url, broker, clientId, password, will }: ConnectOptions,
  ca: string | undefined,
): IClientOptions {
  const { keepaliveSeconds, connectTimeoutSeconds, isCleanSession } = broker;
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
    connectTimeout: connectTimeoutSeconds * 1000,
    ...(ca !== undefined && { ca }),
    ...(will && {
      will: { topic: will.topic, payload: will.payload, qos: will.qos, retain: will.isRetained },
    }),
    reconnectPeriod: 0,
    resubscribe: false,
    queueQoSZero: false,
    log: () => undefined, // its debug log prints CONNECT
  };
}

/** Begins to connect. MQTT.js is loaded here, so that the other commands do without its 17 MB. */
export async function openClient(options: ConnectOptions): Promise<MqttClient> {
  const { broker, signal } = options;
  const { default: mqtt } = await import('mqtt');
  const ca = broker.caFile === undefined ? undefined : await readCa(broker.caFile);
  signal.throwIfAborted();
  return mqtt.connect(clientOptions(options, ca));
}

/** Waits for CONNACK. */
export function awaitConnack(
  client: MqttClient,
  { url: { host }, signal }: ConnectOptions,
): Promise<{ readonly isSessionPresent: boolean }> {
  return new Promise((resolve, reject) => {
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
