/**
 * Keeps the device connected: token, connection, renewal, and the way back after each failure.
 *
 * Units   milliseconds, NumericDate.
 * Errors  none for failures of network, authority and broker: `reactions.ts` decides what follows.
 * Source  DESIGN 4 (renewal), 7 and 8; STANDARDS 4.4. MQTT 3.1.1 cannot change a token in a session: a
 *         broker that does not know our way to gets a new connection, while no message is in flight.
 *
 * @module
 */
import {
  type Clock,
  compileTopicRights,
  createBackoff,
  type Logger,
  NETWORK_BACKOFF,
  OPERATOR_BACKOFF,
  parseScope,
  RENEW_TOPIC,
  type TopicRights,
  UnreachableError,
} from '@latchkey/shared';
import type { BrokerConfig } from './config.js';
import { type Closed, connectMqtt, type MqttConnection } from './mqtt-connection.js';
import { OfflineError, PublishRefusedError } from './mqtt-errors.js';
import type { Publisher } from './publisher.js';
import { type Reaction, reactTo } from './reactions.js';
import { renewalAt } from './renewal.js';
import type { Retry, StateKeeper } from './state.js';
import type { Subscriptions } from './subscriptions.js';
import type { AccessToken, TokenSource } from './token-source.js';
import { orAborted, sleepUntil } from './waiting.js';

export interface SessionDeps {
  readonly broker: BrokerConfig;
  readonly clientId: string;
  readonly tokens: TokenSource;
  readonly publisher: Publisher;
  readonly state: StateKeeper;
  readonly subscriptions: Subscriptions;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: () => number;
}

/** A connection that held this long was a success; a shorter one does not reset the backoff. */
const STABLE_AFTER_MS = 10_000;

type End =
  | { readonly kind: 'renewed'; readonly release: () => void }
  | { readonly kind: 'lost'; readonly closed: Closed };

/** Tokens of other issuers may hold scopes of another kind, and say nothing of topics. */
function rightsOf({ scope }: AccessToken): TopicRights | undefined {
  try {
    const { topicScopes } = parseScope(scope);
    return topicScopes.length === 0 ? undefined : compileTopicRights(topicScopes);
  } catch {
    return undefined; // the broker decides
  }
}

export interface Session {
  /** Runs until the signal aborts, or until only an operator can help; tells which. */
  run(signal: AbortSignal): Promise<'aborted' | 'stopped'>;
}

export function createSession(deps: SessionDeps): Session {
  const { broker, clientId, tokens, publisher, subscriptions, state, clock, random } = deps;
  const purpose = { resource: broker.resource };
  const backoffs = {
    network: createBackoff(NETWORK_BACKOFF, random),
    operator: createBackoff(OPERATOR_BACKOFF, random),
  };
  let lastToken: AccessToken | undefined;
  let hasReplacedToken = false;

  const adopt = (token: AccessToken): void => {
    if (token !== lastToken) {
      const rights = rightsOf(token);
      publisher.setRights(rights);
      subscriptions.setRights(rights);
    }
    lastToken = token;
    state.noteToken(token);
  };

  const waitAfter = async (
    reaction: Reaction & { kind: 'retry' },
    signal: AbortSignal,
    announce: (detail: string, retry: Retry) => void,
  ): Promise<void> => {
    if (reaction.pace === 'at-once') return;
    const waitMs = backoffs[reaction.pace].nextMs();
    announce(`${reaction.detail}; next try in ${Math.ceil(waitMs / 1000)} s`, {
      dueAtMs: clock.elapsedMs() + waitMs,
      needsOperator: reaction.pace === 'operator',
    });
    await clock.sleep(waitMs, signal);
  };

  /** Resolves when the next token is in the cache. The session goes on meanwhile, to its end. */
  const renew = async (token: AccessToken, signal: AbortSignal): Promise<void> => {
    await sleepUntil(clock, renewalAt(token, random()), signal);
    state.enter('renewing');
    for (;;) {
      try {
        await orAborted(tokens.renew(purpose), signal);
        return;
      } catch (error) {
        signal.throwIfAborted();
        const reaction = reactTo(error, { now: clock.now(), hasReplacedToken });
        state.noteError(reaction.detail);
        if (reaction.kind === 'stop') throw error;
        await waitAfter(reaction, signal, (detail) => state.enter('renewing', detail));
      }
    }
  };

  /** Waits until no message is in flight; the others wait until `release`. */
  const quietMoment = async (signal: AbortSignal): Promise<() => void> => {
    const pause = publisher.pause();
    try {
      return (await orAborted(pause, signal)).release;
    } catch (error) {
      void pause.then(({ release }) => release());
      throw error;
    }
  };

  /** Renews within the session; `false` when the broker closed it instead. */
  const present = async (
    connection: MqttConnection,
    token: AccessToken,
    signal: AbortSignal,
  ): Promise<boolean> => {
    const payload = Buffer.from(token.accessToken);
    try {
      await connection.publish({ topic: RENEW_TOPIC, payload, qos: 1, isRetained: false });
    } catch (error) {
      if (error instanceof OfflineError || error instanceof PublishRefusedError) return false;
      throw error;
    }
    adopt(token);
    await orAborted(subscriptions.refresh(), signal); // the token may allow what was refused
    state.count('renewals');
    state.enter('online');
    return true;
  };

  /** Holds the connection until another one has to present the next token, or it is lost. */
  const hold = async (
    connection: MqttConnection,
    first: AccessToken,
    signal: AbortSignal,
  ): Promise<End> => {
    const over = new AbortController();
    const either = AbortSignal.any([signal, over.signal]);
    let token = first;
    try {
      for (;;) {
        const renewal = renew(token, either);
        renewal.catch(() => undefined);
        const lost = await Promise.race([connection.closed, renewal]);
        if (lost !== undefined) return { kind: 'lost', closed: lost };
        if (!broker.renewsInSession) break;
        token = await orAborted(tokens.get(purpose), signal);
        const isAccepted = await present(connection, token, signal);
        if (!isAccepted) return { kind: 'lost', closed: await connection.closed };
      }
      const release = await quietMoment(signal);
      publisher.detach();
      subscriptions.detach();
      await connection.close();
      return { kind: 'renewed', release };
    } finally {
      over.abort();
      publisher.detach();
    }
  };

  /** Connects, but not with a line so slow that CONNECT would arrive after the token's end. */
  const connectInTime = async (
    token: AccessToken,
    signal: AbortSignal,
  ): Promise<MqttConnection> => {
    const { accessToken: password } = token;
    const { deliver: onMessage } = subscriptions;
    const tooLate = new AbortController();
    const done = new AbortController();
    sleepUntil(clock, token.expiresAt, AbortSignal.any([signal, done.signal])).then(
      () => tooLate.abort(new UnreachableError('the token expired while connecting')),
      () => undefined,
    );
    const either = AbortSignal.any([signal, tooLate.signal]);
    try {
      return await connectMqtt({ broker, clientId, password, clock, onMessage, signal: either });
    } finally {
      done.abort();
    }
  };

  /** One connection from token to close. `release` lets the messages go that waited for it. */
  const connectOnce = async (signal: AbortSignal, release: () => void): Promise<End> => {
    state.enter('obtaining');
    const token = await orAborted(tokens.get(purpose), signal);
    adopt(token);
    state.enter('connecting');
    const connection = await connectInTime(token, signal);
    hasReplacedToken = false;
    const onlineAtMs = clock.nowMs();
    try {
      await orAborted(subscriptions.attach(connection), signal);
      publisher.attach(connection);
      state.count('connections');
      state.enter('online');
      release();
      return await hold(connection, token, signal);
    } finally {
      if (clock.nowMs() - onlineAtMs >= STABLE_AFTER_MS) {
        backoffs.network.reset();
        backoffs.operator.reset();
      }
      subscriptions.detach();
      await connection.close();
    }
  };

  const reactionTo = (error: unknown): Reaction =>
    reactTo(error, { now: clock.now(), hasReplacedToken });
  const lostReaction = ({ detail, suspect }: Closed): Reaction & { kind: 'retry' } => {
    if (suspect !== undefined) publisher.noteRefused(suspect);
    return { kind: 'retry', pace: 'network', discardsToken: false, detail };
  };

  return {
    run: async (signal) => {
      let release = (): void => undefined;
      for (;;) {
        let reaction: Reaction;
        try {
          const end = await connectOnce(signal, release);
          if (end.kind === 'renewed') {
            release = end.release;
            continue;
          }
          reaction = lostReaction(end.closed);
        } catch (error) {
          release();
          if (signal.aborted) return 'aborted';
          reaction = reactionTo(error);
          state.noteError(reaction.detail);
        }
        if (reaction.kind === 'stop') {
          state.enter('stopped', reaction.detail);
          return 'stopped';
        }
        if (reaction.discardsToken && lastToken !== undefined) {
          await tokens.discard(lastToken);
          hasReplacedToken = true;
        }
        try {
          await waitAfter(reaction, signal, (detail, retry) =>
            state.enter('backing-off', detail, retry),
          );
        } catch {
          return 'aborted';
        }
      }
    },
  };
}
