import type { Duplex } from 'node:stream';
import { type Clock, type Logger, UnavailableError } from '@latchkey/shared';
import type { Admissions } from './admission.js';
import { advertiseLimits } from './advertised-limits.js';
import { createConnectHooks } from './aedes-connect.js';
import { listenToBroker } from './aedes-events.js';
import { followRegistry } from './aedes-registry.js';
import { createRenewals } from './aedes-renew.js';
import { createRightsChanges } from './aedes-rights.js';
import { isolateBrokerTables, isolateClientTables } from './aedes-tables.js';
import { createTrafficHooks } from './aedes-traffic.js';
import {
  type Aedes,
  assertSupported,
  type Client,
  isConnectedTo,
  persistenceOf,
} from './aedes-types.js';
import { createApprovedWills } from './approved-wills.js';
import type { Authenticate, TokenPlace } from './authenticate.js';
import type { Authorize } from './authorize.js';
import { createDecisionLog } from './decision-log.js';
import { disconnect, tellWhy } from './disconnect.js';
import { composeHook } from './host-hooks.js';
import { createInboundMessages } from './inbound-messages.js';
import { REASON, type ReasonCode, reasonCodeOfEnd } from './mqtt-codes.js';
import type { Notify } from './notices.js';
import type { Limits } from './options.js';
import { createPacketLimits } from './packet-limits.js';
import { boundQueues } from './queue-bound.js';
import type { Renew } from './renew.js';
import { createPurgeSession } from './session-purge.js';
import { createSessionRegistrations } from './session-registration.js';
import type { Session, Sessions } from './sessions.js';
import type { RightsOf } from './shared-rights.js';
import { createStoredSessions } from './stored-sessions.js';
import type { StreamGuards } from './stream-guard.js';
import { createSubscribeAnswers } from './subscribe-answers.js';
import type { WithinTime } from './time-limit.js';
import type { ClientNamespaces } from './trust/client-namespaces.js';
import type { ClientTable } from './trust/client-table.js';

export interface InstallDeps {
  readonly authenticate: Authenticate;
  readonly authorize: Authorize;
  readonly renew: Renew;
  readonly admissions: Admissions;
  /** `undefined`: there is no registry to follow. */
  readonly clients: ClientTable | undefined;
  readonly namespaces: ClientNamespaces;
  readonly rightsOf: RightsOf;
  readonly sessions: Sessions;
  readonly guards: StreamGuards;
  readonly clock: Clock;
  /** By which sessions end. */
  readonly sessionClock: Clock;
  readonly logger: Logger;
  readonly notify: Notify;
  readonly limits: Limits;
  readonly withinTime: WithinTime;
  readonly tokenIn: TokenPlace;
  /** Whether the plugin is about to end all sessions. */
  readonly isClosing: () => boolean;
}

/** Registered, so that two copies of this package in one process see each other. */
const INSTALLED = Symbol.for('latchkey.installed');

function markInstalled(broker: Aedes): void {
  if (Object.hasOwn(broker, INSTALLED)) {
    throw new TypeError('this broker has Latchkey installed already');
  }
  Object.defineProperty(broker, INSTALLED, { value: true });
}

/** Returns what makes the plugin stop following the registry. */
export function installHooks(broker: Aedes, deps: InstallDeps): () => void {
  assertSupported(broker);
  markInstalled(broker);
  isolateBrokerTables(broker);
  advertiseLimits(broker, deps.limits);
  const {
    authenticate,
    authorize,
    renew,
    admissions,
    clients,
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
    isClosing,
  } = deps;
  const bySessionClient = new WeakMap<object, Session>();
  const sessionOf = (client: Client): Session | undefined => bySessionClient.get(client);

  /** What a client of MQTT 5 hears when its session ends. */
  const endCodeOf = ({ hasBegun, endReason }: Session): ReasonCode | undefined =>
    hasBegun && endReason !== undefined ? reasonCodeOfEnd(endReason, isClosing()) : undefined;
  const endFor = (client: Client, code: ReasonCode): void => {
    const session = sessionOf(client);
    if (session === undefined) return;
    if (session.hasBegun && sessionClock.now() < session.context.expiresAt) tellWhy(client, code);
    sessions.end(session);
  };
  const closeLater = (client: Client): void => {
    setImmediate(() => {
      const session = sessionOf(client);
      if (session === undefined) disconnect(client, undefined);
      else sessions.end(session);
    });
  };

  const decisions = createDecisionLog({ logger, notify });
  const traffic = createTrafficHooks({
    broker,
    authorize,
    clock: sessionClock,
    logger,
    decisions,
    sessionOf,
    wills: createApprovedWills({ authorize, again: admissions.again }),
    closeLater,
    endUnauthorized: (client) => endFor(client, REASON.notAuthorized),
    forget: (client, subscription) => stored.refuse(client, subscription),
    dropWill: (will) => {
      const { clientId, brokerId } = will as { clientId?: string; brokerId?: string };
      if (clientId === undefined || brokerId === undefined) return;
      persistenceOf(broker)
        .delWill({ id: clientId, brokerId })
        .catch(() => undefined);
    },
  });

  let registry: ReturnType<typeof followRegistry> | undefined;
  const stored = createStoredSessions({
    persistence: persistenceOf(broker),
    logger,
    isStorable: (client, subscription) => {
      const session = bySessionClient.get(client);
      return session === undefined || traffic.isAllowedFilter(session.context, subscription);
    },
    isQueueable: (id) => registry?.isQueueable(id) !== false,
  });

  boundQueues({
    ...{ persistence: persistenceOf(broker), logger, notify, maxQueued: limits.queuedMessages },
  });

  const answers = createSubscribeAnswers({ decide: traffic.decideFilter });
  const limitPackets = createPacketLimits({
    limits,
    onProblem: tellWhy,
    onSubscribe: answers.screen,
  });
  const inbound = createInboundMessages({ broker, persistence: persistenceOf(broker) });
  const purge = createPurgeSession({
    ...{ persistence: persistenceOf(broker), inbound, brokerId: broker.id },
  });

  const registrations = createSessionRegistrations({
    ...{ persistence: persistenceOf(broker), clients, purge },
  });

  const rightsChanges = createRightsChanges({
    authorize,
    sessions,
    stored,
    clock: sessionClock,
    logger,
    decisions,
    sessionOf,
    isAllowedFilter: traffic.isAllowedFilter,
  });

  const renewals = createRenewals({
    broker,
    renew,
    rightsChanges,
    logger,
    notify,
    withinTime,
    sessionOf,
    endRefused: endFor,
  });

  const connect = createConnectHooks({
    broker,
    authenticate,
    clock,
    logger,
    notify,
    withinTime,
    tokenIn,
    isGuarded: ({ conn }) => guards.isHolding(conn),
    guardedAddressOf: ({ conn }) => guards.addressOf(conn),
    countFault: ({ conn }) => guards.countFault(conn),
    narrow: async (client, context) => {
      await registrations.claim(client.id, context);
      await stored.narrow(client, (subscription) => traffic.isAllowedFilter(context, subscription));
    },
    open: (client, packet, { context, willDecision }) => {
      // The registry may have changed since the client was let in; from `open` on it is told.
      if (admissions.again(context) !== context) {
        const detail = 'the rights of the client changed meanwhile';
        throw new UnavailableError('the client has other rights now', { detail });
      }
      isolateClientTables(client);
      if (!limitPackets(client)) {
        const detail = 'the parser of this Aedes is not known, so packets cannot be bounded';
        throw new UnavailableError('the broker cannot serve now', { detail });
      }
      const will =
        packet.will && willDecision ? { packet: packet.will, decision: willDecision } : undefined;
      const session = sessions.open({
        connection: client,
        context,
        will,
        disconnect: () => disconnect(client, endCodeOf(session)),
      });
      bySessionClient.set(client, session);
      inbound.begin(client, packet.clean === true);
      const conn: Duplex = client.conn;
      conn.on('close', () => {
        sessions.end(session);
        inbound.end(client);
      });
      if (conn.destroyed) sessions.end(session);
    },
  });

  composeHook(broker, 'preConnect', connect.preConnect);
  composeHook(broker, 'authenticate', connect.authenticate);
  composeHook(broker, 'authorizePublish', (host) =>
    renewals.authorizePublish(traffic.authorizePublish(host)),
  );
  composeHook(broker, 'authorizeSubscribe', traffic.authorizeSubscribe);
  composeHook(broker, 'authorizeForward', traffic.authorizeForward);
  listenToBroker(broker, {
    ...{ sessions, guards, sessionClock, logger, notify, sessionOf, closeLater },
  });
  broker.prependListener('subscribe', (subscriptions, client) => {
    answers.complete(client, subscriptions);
  });
  broker.on('subscribe', (_subscriptions, client) => rightsChanges.recheck(client));
  if (clients === undefined) return () => undefined;
  registry = followRegistry({
    ...{ clients, admissions, rightsOf, sessions, rightsChanges, logger },
    ...{ stored, purge, registrations, namespaces: deps.namespaces, withinTime },
    isConnected: (id) => isConnectedTo(broker, id),
  });
  return registry.stop;
}
