/**
 * `createLatchkey`: the only place that wires the parts of the plugin.
 *
 * Units   milliseconds where a name says so.
 * Errors  `FormatError` or `RangeError` for an option, `TypeError` from `install`.
 * Source  DESIGN 6.
 *
 * @module
 */
import type { Duplex } from 'node:stream';
import {
  createHttpClient,
  FormatError,
  type HttpClient,
  parseIssuer,
  parseResourceId,
  silentLogger,
  systemClock,
} from '@latchkey/shared';
import { admitAll, createAdmissions } from './admission.js';
import { installHooks } from './aedes-hooks.js';
import type { Aedes } from './aedes-types.js';
import { createAuthenticate, tokenOf } from './authenticate.js';
import { createAuthorize } from './authorize.js';
import { parseDollarTopics } from './dollar-topics.js';
import { createExplain, type Explain } from './explain.js';
import { createKnownTokens } from './known-tokens.js';
import { createMetrics } from './metrics.js';
import { createNotices, type Events } from './notices.js';
import {
  type LatchkeyOptions,
  resolveChoice,
  resolveLimits,
  resolveMaxStaleness,
  SERVICE_INSTANCES,
  TOKEN_PLACES,
} from './options.js';
import { createProtectedAuthenticate } from './protected-authenticate.js';
import { createProtection } from './protection.js';
import { resolveProtection } from './protection-options.js';
import { createRenew } from './renew.js';
import { createRightsCompiler } from './rights-compiler.js';
import { createSessionClock } from './session-clock.js';
import { createSessions } from './sessions.js';
import { createSharedRights } from './shared-rights.js';
import { createStreamGuards, type GuardOptions, type Handshake } from './stream-guard.js';
import { createTimeLimit } from './time-limit.js';
import { type AuthorityTrust, createAuthorityTrust } from './trust/authority-trust.js';
import { type BrokerState, openBrokerState } from './trust/broker-state.js';
import { createIssuedTokens } from './trust/issued-token.js';
import { createMintedTokens } from './trust/minted-token.js';
import { createServiceInstances } from './trust/service-instances.js';
import { createThirdParties } from './trust/third-parties.js';
import { createVerifyToken } from './verify-token.js';
import { createKeyWithdrawal } from './withdrawn-keys.js';

export interface Latchkey {
  /**
   * Puts the plugin into a broker made by `Aedes.createBroker()`. Hooks that the broker has, or gets
   * later, are composed with ours: whoever denies wins.
   */
  install(broker: Aedes): void;
  /**
   * Guards a connection until its session is accepted; give the result to `broker.handle`. A
   * connection that was not guarded is refused. A WebSocket stream does not know where it comes from:
   * give it the request of its handshake, or its address is not protected against.
   */
  guard<Stream extends Duplex>(
    stream: Stream,
    handshake?: Handshake,
    options?: GuardOptions,
  ): Stream;
  /**
   * Counts a connection against its address, before a TLS or WebSocket handshake is spent on it.
   * `false`: the address has too many, destroy it. Whoever calls this tells `guard` so.
   */
  takeConnection(address: string | undefined): boolean;
  /**
   * What a token, or a client that is connected now, may do, and why: the code that decides, asked
   * without a packet.
   */
  readonly explain: Explain;
  /** `connect`, `connect-refused`, `publish-refused`, `subscribe-refused`, `renewed`, `expired` … */
  readonly events: Events;
  /** Counters and gauges in the text format of Prometheus. */
  metrics(): string;
  /** Whether keys of an issuer are at hand and, with a feed, its clients, so that clients can be let in. */
  isReady(): boolean;
  /** Ends every session and connection of the plugin, and its timers. */
  close(): Promise<void>;
}

const SWEEP_MS = 1000;
const JWKS_MAX_BYTES = 64 * 1024;
const JWKS_TIMEOUT_MS = 4_000;
/** Scope texts of the registry that are kept compiled, at under 1 KB each. */
const MAX_SHARED_RIGHTS = 10_000;
/** Scopes in the templates that are kept compiled, at under 1 KB each. */
const MAX_COMPILED_SCOPES = 20_000;

export function createLatchkey(options: LatchkeyOptions): Latchkey {
  const state = options.stateFile === undefined ? undefined : openBrokerState(options.stateFile);
  try {
    return assemble(options, state);
  } catch (error) {
    state?.close();
    throw error;
  }
}

function assemble(options: LatchkeyOptions, state: BrokerState | undefined): Latchkey {
  const audience = parseResourceId(options.audience, 'audience');
  const limits = resolveLimits(options.limits);
  const protectionOptions = resolveProtection(options.protection);
  const authorize = createAuthorize(parseDollarTopics(options.dollarTopics ?? []));
  const tokenIn = resolveChoice('tokenIn', TOKEN_PLACES, options.tokenIn);
  const instances = resolveChoice('serviceInstances', SERVICE_INSTANCES, options.serviceInstances);
  const maxStalenessSeconds = resolveMaxStaleness(options.maxStalenessSeconds);
  const { clock = systemClock, logger = silentLogger } = options;
  const sessionClock = createSessionClock(clock, options.graceSeconds ?? 0);
  const issuer = options.issuer === undefined ? undefined : parseIssuer(options.issuer);
  if (options.feed !== undefined && (issuer === undefined || options.clients !== undefined)) {
    throw new TypeError('a feed needs an issuer, and gives the clients itself');
  }
  const createHttp = (ca: string | undefined): HttpClient =>
    options.http ??
    createHttpClient({
      timeoutMs: JWKS_TIMEOUT_MS,
      maxBodyBytes: JWKS_MAX_BYTES,
      ...(ca === undefined ? {} : { ca }),
    });

  const stop = new AbortController();
  const metrics = createMetrics(
    {
      sessions: () => sessions.size,
      knownTokens: () => knownTokens.size,
      issuerKeys: () => new Map([...keys].map(([of, { size }]) => [of, size])),
    },
    () => trust?.formatMetrics() ?? [],
  );
  const { events, notify } = createNotices({ logger, count: metrics.count });
  const knownTokens = createKnownTokens({ clock, maxEntries: limits.knownTokens });
  const onKeyRemoved = () => knownTokens.clear();
  const compileRights = createRightsCompiler(MAX_COMPILED_SCOPES);
  const thirdParties = createThirdParties(options.thirdPartyIssuers ?? [], {
    own: { issuer, audience },
    ...{ createHttp, clock, compileRights, logger, onKeyRemoved, copies: state?.copies },
  });
  const keys = new Map(thirdParties.keys);
  const verifiers = [...thirdParties.verifiers];
  const rightsOf = createSharedRights(MAX_SHARED_RIGHTS, compileRights);
  let admissions = admitAll;
  let { clients } = options;
  let trust: AuthorityTrust | undefined;
  if (issuer !== undefined) {
    trust = createAuthorityTrust({
      ...{ issuer, resource: audience, state, feed: options.feed, maxStalenessSeconds },
      ...{ http: createHttp(options.issuerCa), clock, logger },
      onKeyRemoved: () => {
        onKeyRemoved();
        withdrawKeys();
      },
    });
    clients = trust.clients ?? clients;
    keys.set(issuer, trust.keys);
    const { findKey } = trust.keys;
    verifiers.push(createIssuedTokens({ issuer, audience, clock, compileRights, findKey }));
    if (clients !== undefined) {
      const registry = { issuer, audience, clients, clock, rightsOf, maxStalenessSeconds };
      verifiers.push(createMintedTokens({ ...registry, compileRights }));
      admissions = createAdmissions(registry);
    }
  }
  if (verifiers.length === 0) throw new FormatError('issuer', 'is missing: nobody is trusted');
  const sessions = createSessions({ clock: sessionClock, logger, notify });
  const withdrawKeys = createKeyWithdrawal({
    ...{ issuer, sessions, clock, lateMs: limits.authenticateTimeoutMs, signal: stop.signal },
    isTrusted: (kid) => trust?.keys.has(kid) === true,
  });
  const protection = createProtection({ options: protectionOptions, clock, logger, notify });
  const guards = createStreamGuards({ clock, logger, notify, limits, protection });
  const verifyToken = createVerifyToken({
    verifiers,
    namespaces: thirdParties.namespaces,
    admit: admissions.admit,
    knownTokens,
  });
  const authenticate = createProtectedAuthenticate({
    authenticate: createAuthenticate({
      verifyToken,
      authorize,
      clock,
      maxKeepaliveSeconds: limits.maxKeepaliveSeconds,
      tokenIn,
      mayHaveInstances: createServiceInstances(instances, clients),
    }),
    protection,
    isTokenKnown: (request) => {
      const token = tokenOf(request, tokenIn);
      return token !== undefined && knownTokens.has(token);
    },
  });
  const withinTime = createTimeLimit({
    clock,
    limitMs: limits.authenticateTimeoutMs,
    signal: stop.signal,
  });
  let running: Promise<unknown> | undefined;

  const sweep = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      try {
        // Tokens expire on whole seconds, so that is when to look.
        await clock.sleep(SWEEP_MS - (clock.nowMs() % SWEEP_MS), stop.signal);
      } catch {
        return; // closed
      }
      sessions.sweep();
      guards.sweep();
      trust?.sweep();
    }
  };

  const start = (): void => {
    const all = [...thirdParties.keys.values(), ...(trust === undefined ? [] : [trust])];
    running ??= Promise.all([...all.map((one) => one.run(stop.signal)), sweep()]);
  };

  return {
    install: (broker) => {
      if (stop.signal.aborted) throw new TypeError('install after close');
      const renew = createRenew({ verifyToken, clock, sessionClock });
      const unfollow = installHooks(broker, {
        authenticate,
        authorize,
        renew,
        admissions,
        clients,
        namespaces: thirdParties.namespaces,
        rightsOf,
        sessions,
        guards,
        clock,
        sessionClock,
        logger,
        notify,
        limits,
        withinTime,
        tokenIn,
        isClosing: () => stop.signal.aborted,
      });
      stop.signal.addEventListener('abort', unfollow, { once: true });
      start();
    },
    guard: (stream, handshake, guardOptions) => {
      if (stop.signal.aborted) return stream.destroy();
      return guards.guard(stream, handshake, guardOptions);
    },
    takeConnection: protection.takeConnection,
    explain: createExplain({
      verifyToken,
      authorize,
      findContext: (clientId) => sessions.find(clientId)?.context,
      clock: sessionClock,
    }),
    events,
    metrics: metrics.format,
    isReady: () => [...keys.values()].some(({ size }) => size > 0) && trust?.isReady() !== false,
    close: async () => {
      stop.abort();
      guards.destroyAll();
      sessions.endAll();
      await running;
      state?.close();
    },
  };
}
