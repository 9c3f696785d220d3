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
  parseScope,
  RENEW_TOPIC,
  type TopicRights,
} from '@latchkey/shared';
import type { BrokerLine } from './broker-line.js';
import type { Comeback } from './comeback.js';
import type { BrokerConfig } from './config.js';
import type { Closed, MqttConnection } from './mqtt-connection.js';
import { OfflineError, PublishRefusedError } from './mqtt-errors.js';
import type { Publisher } from './publisher.js';
import { type Reaction, reactTo } from './reactions.js';
import { renewalAt } from './renewal.js';
import type { StateKeeper } from './state.js';
import type { Subscriptions } from './subscriptions.js';
import type { AccessToken, TokenSource } from './token-source.js';
import { orAborted, sleepUntil } from './waiting.js';

export interface SessionDeps {
  readonly broker: Pick<BrokerConfig, 'resource' | 'renewsInSession'>;
  readonly line: BrokerLine;
  readonly comeback: Comeback;
  readonly tokens: TokenSource;
  readonly publisher: Publisher;
  readonly state: StateKeeper;
  readonly subscriptions: Subscriptions;
  readonly clock: Clock;
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
  const { broker, line, comeback, tokens, publisher, subscriptions, state, clock, random } = deps;
  const purpose = { resource: broker.resource };
  let lastToken: AccessToken | undefined;
  let rights: TopicRights | undefined;
  let hasReplacedToken = false;

  const adopt = (token: AccessToken): void => {
    if (token !== lastToken) {
      rights = rightsOf(token);
      publisher.setRights(rights);
      subscriptions.setRights(rights);
    }
    lastToken = token;
    state.noteToken(token);
  };

  const waitAfter = async (
    { pace, detail }: Reaction & { kind: 'retry' },
    signal: AbortSignal,
    during: 'renewing' | 'backing-off',
  ): Promise<void> => {
    if (pace === 'at-once') return;
    const waitMs = comeback.nextWaitMs(pace);
    const next = `next try in ${Math.ceil(waitMs / 1000)} s`;
    const dueAtMs = clock.elapsedMs() + waitMs;
    state.enter(during, `${detail}; ${next}`, { dueAtMs, needsOperator: pace === 'operator' });
    await clock.sleep(waitMs, signal);
  };

  /** Resolves when the next token is in the cache. The session goes on meanwhile, to its end. */
  const renew = async (token: AccessToken, signal: AbortSignal): Promise<void> => {
    await sleepUntil(clock, renewalAt(token, random()), signal);
    state.enter('renewing');
    for (;;) {
      try {
        await orAborted(tokens.renew(purpose), signal);
        comeback.reset();
        return;
      } catch (error) {
        signal.throwIfAborted();
        const reaction = reactTo(error, { now: clock.now(), hasReplacedToken });
        state.noteError(reaction.detail);
        if (reaction.kind === 'stop') throw error;
        await waitAfter(reaction, signal, 'renewing');
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

  /** Resolves when the connection has held so long that the way to it counts as good again. */
  const untilStable = async (signal: AbortSignal): Promise<void> => {
    await clock.sleep(STABLE_AFTER_MS, signal);
    comeback.reset();
  };

  /** One connection from token to close. `release` lets the messages go that waited for it. */
  const connectOnce = async (signal: AbortSignal, release: () => void): Promise<End> => {
    state.enter('obtaining');
    const token = await orAborted(tokens.get(purpose), signal);
    adopt(token);
    const connection = await line.connect(token, rights, signal);
    hasReplacedToken = false;
    const over = new AbortController();
    const stable = untilStable(AbortSignal.any([signal, over.signal])).then(
      () => true,
      () => false,
    );
    try {
      await orAborted(subscriptions.attach(connection), signal);
      publisher.attach(connection);
      state.count('connections');
      state.enter('online');
      release();
      return await hold(connection, token, signal);
    } finally {
      over.abort();
      if (!(await stable)) line.noteUnstable();
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
      const firstWaitMs = comeback.firstWaitMs();
      if (firstWaitMs > 0) {
        const next = `first try in ${Math.ceil(firstWaitMs / 1000)} s`;
        state.enter(
          'backing-off',
          `devices that start together come one after the other; ${next}`,
          {
            dueAtMs: clock.elapsedMs() + firstWaitMs,
            needsOperator: false,
          },
        );
        await clock.sleep(firstWaitMs, signal).catch(() => undefined);
        if (signal.aborted) return 'aborted';
      }
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
          await waitAfter(reaction, signal, 'backing-off');
        } catch {
          return 'aborted';
        }
      }
    },
  };
}
