/**
 * The agent as a library: wires key, token source, session, sources, actions and local socket.
 *
 * Units   NumericDate.
 * Errors  `UsageError`, `ConfigError`: the state folder cannot be used. Failures of the network are
 *         not errors here but states.
 * Source  DESIGN 7.
 *
 * @module
 */
import { type Clock, type HttpClient, type Logger, withTlsPins } from '@latchkey/shared';
import { createAuthorityTime, learnTimeFrom } from './authority-time.js';
import { createBrokerLine } from './broker-line.js';
import { openComeback } from './comeback.js';
import type { AgentConfig } from './config.js';
import { openCurrentKey, withCurrentKey } from './current-key.js';
import { createHealth, type Health, type Problem } from './health.js';
import { createIssuedTokenSource } from './issued-token.js';
import { formatMetrics } from './local/metrics.js';
import { type LocalSockets, openLocalSockets } from './local/sockets.js';
import { createStreams } from './local/subscribe.js';
import { createTokenDesk } from './local/token.js';
import { createTokenSource } from './minted-token.js';
import type { Message } from './mqtt-connection.js';
import { OfflineError } from './mqtt-errors.js';
import { type Outbox, openOutbox } from './outbox.js';
import { checkStateDir, stateFile } from './private-file.js';
import { createPublisher, type Publisher } from './publisher.js';
import { planReload, type ReloadPlan } from './reload-plan.js';
import { createSession } from './session.js';
import { settleIdentity } from './settled-identity.js';
import { type AgentStatus, createStateKeeper } from './state.js';
import { lockStateDir } from './state-lock.js';
import { statusBody } from './status-body.js';
import { openSubscriptionFile } from './subscription-file.js';
import { createSubscriptions } from './subscriptions.js';
import { keepTime } from './time-file.js';
import { createMemoryTokenCache, openTokenCache } from './token-cache.js';
import { createWorkload } from './workload.js';

export interface AgentDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly http: HttpClient;
  /** Uniform in [0, 1); spreads renewals and retries of a fleet. */
  readonly random: () => number;
  /** All of the environment of sources' and actions' commands; without PATH the system's default. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Path of the Unix socket of ssh-agent, for a key that it holds; `config.key` goes before. */
  readonly sshAgentSocket?: string | undefined;
  /** Called after the state or its detail changed. */
  readonly onStatus?: () => void;
}

export interface Agent {
  /**
   * Runs until the signal aborts and then sends what waits, for `flushSeconds` at most (`aborted`), or
   * until only an operator can help (`stopped`).
   */
  run(signal: AbortSignal): Promise<'aborted' | 'stopped'>;
  /**
   * Resolves once the message is safe on disk; it is sent when the broker can be reached. Rejects with
   * `PublishRefusedError`, `OutboxFullError`, or `OfflineError` while the agent does not run.
   */
  publish(message: Message): Promise<void>;
  /** Resolves when the broker has it; rejects also with `OfflineError` when that takes longer. */
  publishAndWait(message: Message, timeoutMs: number): Promise<void>;
  /**
   * Takes on another configuration while it runs. Only what differs is touched: the connection stays
   * unless `broker` changed, and no message is lost.
   */
  reload(next: AgentConfig): ReloadPlan;
  /** Notes something for `status` to show. */
  noteError(message: string): void;
  status(): AgentStatus;
  /** What is wrong; empty: all is well, which includes being offline with the next try on its way. */
  problems(): readonly Problem[];
}

const SWEEP_MS = 60_000;
const DEFAULT_ENVIRONMENT = { PATH: '/usr/local/bin:/usr/bin:/bin' };

export function createAgent(config: AgentConfig, deps: AgentDeps): Agent {
  const { logger, random, environment = DEFAULT_ENVIRONMENT } = deps;
  const clock = createAuthorityTime({ machine: deps.clock, logger });
  const { stateDir } = config;
  let current = config;
  let apply: () => void = () => undefined;
  let changeBroker: () => void = () => undefined;
  const state = createStateKeeper({
    ...{ clock, logger },
    ...(deps.onStatus && { onChange: deps.onStatus }),
  });
  let running: Publisher | undefined;
  let currentHealth: Health | undefined;

  const publisherNow = (): Publisher => {
    if (running === undefined) throw new OfflineError('the agent does not run');
    return running;
  };

  const sweep = async (outbox: Outbox, signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      outbox.sweep();
      await clock.sleep(SWEEP_MS, signal).catch(() => undefined);
    }
  };

  const run = async (outer: AbortSignal): Promise<'aborted' | 'stopped'> => {
    await checkStateDir(stateDir);
    const lock = lockStateDir(stateDir);
    try {
      return await runLocked(outer);
    } finally {
      lock.release();
    }
  };

  const runLocked = async (outer: AbortSignal): Promise<'aborted' | 'stopped'> => {
    const holders = { sshAgentSocket: config.key.sshAgentSocket ?? deps.sshAgentSocket };
    await settleIdentity(stateDir, config.authority, clock);
    const key = await openCurrentKey({ stateDir, holders, logger });
    const { identity } = key;
    const cache = await openTokenCache(stateDir);
    const { startSpreadSeconds } = config.broker;
    const comeback = await openComeback({ stateDir, startSpreadSeconds, clock, logger, random });
    const timeFile = await keepTime(stateDir, clock, logger);
    const http = learnTimeFrom(
      withTlsPins(deps.http, identity.tlsPins ?? []),
      identity.issuer,
      clock,
      timeFile.save,
    );
    const exchange = { identity, signer: key.signer, http, clock, logger };
    const outbox = openOutbox({
      path: stateFile(stateDir, 'outbox'),
      ...{ rules: current.outbox, clock, logger },
      onDropped: (sequence, why) => publisher.noteDropped(sequence, why),
    });
    const publisher = createPublisher({ outbox, clock, logger, state });
    const kept = current.broker.isCleanSession
      ? undefined
      : await openSubscriptionFile(stateDir, logger);
    const subscriptions = createSubscriptions({ state, logger, kept });
    const streams = createStreams({ subscriptions, state, clock, logger });
    const tokenDesk = createTokenDesk({
      tokens: withCurrentKey(
        createIssuedTokenSource({ ...exchange, cache: createMemoryTokenCache() }),
        key,
      ),
      brokerResource: () => current.broker.resource,
      clock,
    });
    const health = createHealth({ clock, state, outbox });
    currentHealth = health;
    let sockets: LocalSockets;
    try {
      sockets = await openLocalSockets(stateFile(stateDir, 'socket'), config.sockets, {
        clientId: identity.clientId,
        ...{ publisher, outbox, streams, tokenDesk, logger },
        status: () =>
          statusBody({
            kid: key.signer.publicKey.kid,
            ...{ status: state.status(), config: current, identity, outbox, clock, health },
          }),
        health,
        metrics: () =>
          formatMetrics({
            ...{ outbox, clock, status: state.status(), subscribers: streams.count },
          }),
      });
    } catch (error) {
      outbox.close();
      throw error;
    }
    running = publisher;
    const over = new AbortController();
    /** Ends the connection: later than all else, so that what waits can leave. */
    const ending = new AbortController();
    const endAfterFlush = async (): Promise<void> => {
      const late = new AbortController();
      const limit = clock.sleep(current.outbox.flushSeconds * 1000, late.signal);
      await Promise.race([publisher.drained(), limit]);
      limit.catch(() => undefined);
      late.abort();
      ending.abort();
    };
    const onAbort = (): void => void endAfterFlush();
    if (outer.aborted) onAbort();
    outer.addEventListener('abort', onAbort, { once: true });
    const signal = AbortSignal.any([outer, over.signal]);
    const { clientId } = identity;
    const workload = createWorkload({
      ...{ clientId, publisher, subscriptions, state, clock, logger, random, environment, signal },
    });
    const tokens = withCurrentKey(createTokenSource({ ...exchange, cache }), key);
    /** One session after the other, each with another broker. */
    const runSessions = async (): Promise<'aborted' | 'stopped'> => {
      for (;;) {
        const change = new AbortController();
        changeBroker = () => change.abort();
        const { broker } = current;
        const line = createBrokerLine({
          ...{ broker, clientId, state, clock, logger },
          onMessage: subscriptions.deliver,
        });
        const session = createSession({
          ...{ broker, line, comeback, tokens, publisher, state, subscriptions, clock, random },
        });
        const end = await session.run(AbortSignal.any([ending.signal, change.signal]));
        if (end === 'stopped' || ending.signal.aborted) return end;
      }
    };
    apply = () => {
      outbox.setRules(current.outbox);
      workload.replace(current);
    };
    try {
      workload.replace(current);
      const housekeeping = Promise.all([
        sweep(outbox, signal),
        health.run(signal),
        key.keep({ http, clock, random, days: config.key.rotateAfterDays }, signal),
      ]);
      const end = await Promise.race([
        runSessions(),
        // They end before only by a bug, which must end the agent.
        workload.failed,
        housekeeping.then(() => new Promise<never>(() => undefined)),
      ]);
      over.abort();
      await Promise.all([housekeeping, workload.ended()]);
      if (end === 'aborted') state.enter('offline', 'shut down');
      return end;
    } finally {
      outer.removeEventListener('abort', onAbort);
      over.abort();
      running = undefined;
      apply = () => undefined;
      changeBroker = () => undefined;
      await sockets.close();
      outbox.close();
      await Promise.all([comeback.written(), timeFile.written()]);
    }
  };

  return {
    run,
    publish: async (message) => publisherNow().publish(message),
    publishAndWait: async (message, timeoutMs) => publisherNow().publishAndWait(message, timeoutMs),
    reload: (next) => {
      const plan = planReload(current, next);
      current = plan.config;
      apply();
      if (plan.applied.includes('broker')) changeBroker();
      return plan;
    },
    noteError: state.noteError,
    status: state.status,
    problems: () => currentHealth?.problems() ?? [],
  };
}
