/**
 * Opens the connection to the broker: its URLs in order, the will if the token allows it, and never a
 * token that ends on the way.
 *
 * Units   NumericDate.
 * Errors  `ConnectRefusedError`, `UnreachableError`: of the last URL that was tried.
 * Source  DESIGN 7 and 8; STANDARDS 5.3 (the broker checks the will at CONNECT); MQTT 3.1.1 3.1.2.5.
 *
 * @module
 */
import {
  type ClientId,
  type Clock,
  decide,
  type Logger,
  type TopicRights,
  UnreachableError,
} from '@latchkey/shared';
import type { BrokerConfig } from './config.js';
import { connectMqtt, type Message, type MqttConnection } from './mqtt-connection.js';
import { ConnectRefusedError } from './mqtt-errors.js';
import type { StateKeeper } from './state.js';
import type { AccessToken } from './token-source.js';
import { fillName } from './topic-templates.js';
import { sleepUntil } from './waiting.js';

export interface BrokerLine {
  /** `rights`: what the token allows; `undefined`: it does not say. */
  connect(
    token: AccessToken,
    rights: TopicRights | undefined,
    signal: AbortSignal,
  ): Promise<MqttConnection>;
  /** The last connection did not hold: the next try begins with another URL. */
  noteUnstable(): void;
}

/** CONNACK 3: this broker cannot serve now, and another one may. */
const isUnavailable = (error: unknown): boolean =>
  error instanceof UnreachableError ||
  (error instanceof ConnectRefusedError && error.returnCode === 3);

export function createBrokerLine(deps: {
  readonly broker: BrokerConfig;
  readonly clientId: ClientId;
  readonly onMessage: (message: Message) => void;
  readonly state: StateKeeper;
  readonly clock: Clock;
  readonly logger: Logger;
}): BrokerLine {
  const { broker, clientId, onMessage, state, clock, logger } = deps;
  const { urls } = broker;
  const configured: Message | undefined = broker.will && {
    topic: fillName(broker.will.topic, clientId),
    payload: Buffer.from(broker.will.payload),
    qos: broker.will.qos,
    isRetained: broker.will.isRetained,
  };
  let firstIndex = 0;
  let lastIndex = 0;
  let hasToldWill = false;

  /** A will without a right would keep the device offline: the broker refuses the whole CONNECT. */
  const willFor = (rights: TopicRights | undefined): Message | undefined => {
    if (configured === undefined || rights === undefined) return configured;
    const { topic, qos, isRetained: retain } = configured;
    const decision = decide(rights, { action: 'publish', topic, qos, retain });
    if (decision.allowed) {
      hasToldWill = false;
      return configured;
    }
    const { detail } = decision;
    state.noteError(
      `this device has no right to its will on ${topic}, and connects without: ${detail}`,
    );
    const level = hasToldWill ? 'debug' : 'warn';
    hasToldWill = true;
    logger[level]({ event: 'will.refused', topic, detail }, 'connecting without the will');
    return undefined;
  };

  /** The first broker that lets us in. */
  const connectInOrder = async (
    password: string,
    will: Message | undefined,
    signal: AbortSignal,
  ): Promise<MqttConnection> => {
    for (let tries = 1; ; tries += 1) {
      lastIndex = (firstIndex + tries - 1) % urls.length;
      const url = urls[lastIndex] as URL;
      state.enter('connecting', urls.length > 1 ? url.host : undefined);
      state.noteBroker(url);
      try {
        const options = { url, broker, clientId, password, will, clock, onMessage, signal };
        const connection = await connectMqtt(options);
        firstIndex = 0;
        return connection;
      } catch (error) {
        signal.throwIfAborted();
        if (!isUnavailable(error) || tries === urls.length) throw error;
        const detail = error instanceof Error ? error.message : '';
        logger.warn({ event: 'broker.skipped', host: url.host, detail }, 'trying the next broker');
      }
    }
  };

  return {
    connect: async (token, rights, signal) => {
      const tooLate = new AbortController();
      const done = new AbortController();
      sleepUntil(clock, token.expiresAt, AbortSignal.any([signal, done.signal])).then(
        () => tooLate.abort(new UnreachableError('the token expired while connecting')),
        () => undefined,
      );
      const either = AbortSignal.any([signal, tooLate.signal]);
      try {
        return await connectInOrder(token.accessToken, willFor(rights), either);
      } finally {
        done.abort();
      }
    },
    noteUnstable: () => {
      firstIndex = (lastIndex + 1) % urls.length;
    },
  };
}
