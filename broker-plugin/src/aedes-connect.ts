/**
 * The hooks of a CONNECT: `preConnect` and `authenticate`.
 *
 * Units   milliseconds where a name says so.
 * Errors  none escape; each becomes one answer of MQTT, and anything not understood a refusal.
 * Source  STANDARDS 5.2, 5.3 (7, 9, 11, 13, 18), 5.4; STYLE 2.5.
 *
 * @module
 */
import {
  type Clock,
  InsufficientScopeError,
  InvalidTokenError,
  type Logger,
  OAuthError,
  UnavailableError,
} from '@latchkey/shared';
import {
  type Aedes,
  type Client,
  type Compose,
  type ConnectPacket,
  canMqtt5,
  type Hook,
  isMqtt5,
} from './aedes-types.js';
import type { Admission, Authenticate, ConnectRequest, TokenPlace } from './authenticate.js';
import { isConnectOfMqtt5, protocolProblem, writeRefusal } from './connect-protocol.js';
import { forLog } from './decision-log.js';
import { asError, once, runHost } from './host-hooks.js';
import { REASON, type ReasonCode, reasonCodeOf, returnCodeOf } from './mqtt-codes.js';
import type { Notify } from './notices.js';
import { BannedError } from './protection.js';
import type { WithinTime } from './time-limit.js';
import type { SessionContext } from './verify-token.js';

export interface ConnectHooks {
  readonly preConnect: Compose<'preConnect'>;
  readonly authenticate: Compose<'authenticate'>;
}

/** A CONNECT between its two hooks. */
interface Pending {
  readonly packet: ConnectPacket;
  admission: Admission | undefined;
}

/** The host said no; its own return code is kept when it has one. */
class HostRefusal extends InsufficientScopeError {
  readonly returnCode: number | undefined;

  constructor(cause: unknown) {
    super('refused by a hook of the host', { cause, detail: 'refused by a hook of the host' });
    this.returnCode = (cause as { returnCode?: number } | null)?.returnCode;
  }
}

/** Where a host sends a client of MQTT 5 instead; Aedes 2 tells it. */
function redirectOf(refusal: unknown): object | undefined {
  const { serverReference, reasonCode } = (refusal ?? {}) as Record<string, unknown>;
  return typeof serverReference === 'string' ? { serverReference, reasonCode } : undefined;
}

function answerCodeOf(error: OAuthError): number {
  return (error instanceof HostRefusal ? error.returnCode : undefined) ?? returnCodeOf(error);
}

export function addressOf(client: Client): string | undefined {
  const { conn, req } = client as { conn?: object; req?: { socket?: object } | null };
  const socket = (req?.socket ?? conn) as { remoteAddress?: string } | undefined;
  return socket?.remoteAddress;
}

export function createConnectHooks(deps: {
  readonly broker: Aedes;
  readonly authenticate: Authenticate;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly notify: Notify;
  readonly withinTime: WithinTime;
  readonly tokenIn: TokenPlace;
  readonly isGuarded: (client: Client) => boolean;
  /** Known even when the connection is gone meanwhile. */
  readonly guardedAddressOf: (client: Client) => string | undefined;
  /** Counts a CONNECT that breaks the protocol. `false`: that is no news, the address is banned. */
  readonly countFault: (client: Client) => boolean;
  /** Fits the stored session to the rights before Aedes restores it. */
  readonly narrow: (client: Client, context: SessionContext) => Promise<void>;
  /** Opens the session. Throws when it cannot be kept within its bounds. */
  readonly open: (client: Client, packet: ConnectPacket, admission: Admission) => void;
}): ConnectHooks {
  const { broker, authenticate, clock, logger, notify, withinTime, tokenIn } = deps;
  const { isGuarded, narrow, open } = deps;
  const addressOfPending = (client: Client) => deps.guardedAddressOf(client) ?? addressOf(client);
  const pendings = new WeakMap<Client, Pending>();

  const logRefusal = (
    client: Client,
    packet: ConnectPacket | undefined,
    error: Error,
    isNews = !(error instanceof BannedError), // the ban was told when it began
  ): void => {
    const isOAuth = error instanceof OAuthError;
    const mqttClientId = packet && forLog(packet.clientId);
    const known = error instanceof BannedError ? 'banned' : isOAuth ? error.error : undefined;
    const reason = known ?? 'protocol';
    const returnCode = isOAuth ? answerCodeOf(error) : undefined;
    const address = addressOfPending(client);
    const fields = {
      event: 'connect.refused',
      mqttClientId,
      reason,
      detail: forLog((isOAuth ? error.detail : undefined) ?? error.message),
      ...(returnCode === undefined ? {} : { returnCode }),
      address,
    };
    if (isNews) logger.warn(fields, 'connection refused');
    notify('connect-refused', { mqttClientId, reason, returnCode, address });
  };

  const preConnect: Compose<'preConnect'> = (host) => (client, packet, callback) => {
    const answer = once(callback);
    const isOfMqtt5 = isConnectOfMqtt5(packet);
    // Never `(null, false)`: that leaves the connection open with no timer (STANDARDS 5.3, 11).
    const refuse = (error: Error, code?: ReasonCode, isNews = true): void => {
      logRefusal(client, packet, error, isNews);
      if (code !== undefined && isOfMqtt5) writeRefusal(client, packet, code, error);
      answer(error, false);
    };
    if (!isGuarded(client)) {
      const how = 'use broker.handle(latchkey.guard(stream))';
      return refuse(new Error(`the stream is not guarded: ${how}`));
    }
    // Aedes 1 answers MQTT 5 with "unacceptable protocol version".
    const problem = isOfMqtt5 && !canMqtt5(broker) ? undefined : protocolProblem(packet);
    if (problem !== undefined) {
      return refuse(new Error(problem), REASON.protocolError, deps.countFault(client));
    }
    if (!pendings.has(client)) pendings.set(client, { packet, admission: undefined });
    const hostRefused = (cause: unknown): void => {
      const redirect = redirectOf(cause);
      const error = new Error('refused by a hook of the host', { cause });
      refuse(Object.assign(error, redirect), redirect ? undefined : REASON.notAuthorized);
    };
    runHost(
      () =>
        host.call(broker, client, packet, (error, isAllowed) => {
          if (error || isAllowed !== true) hostRefused(error);
          else answer(null, true);
        }),
      hostRefused,
    );
  };

  const askHost = (
    host: Hook<'authenticate'>,
    ...[client, username, password]: [Client, string | undefined, Buffer | undefined]
  ): Promise<void> =>
    new Promise((resolve, reject) => {
      const fail = (error: unknown) => reject(new HostRefusal(error));
      runHost(
        () =>
          host.call(broker, client, username, password, (error, isAllowed) => {
            if (error || isAllowed !== true) fail(error);
            else resolve();
          }),
        fail,
      );
    });

  const requestOf = (
    client: Client,
    { clientId, will, keepalive }: ConnectPacket,
    username: string | undefined,
    password: Buffer | undefined,
  ): ConnectRequest => ({
    mqttClientId: clientId,
    address: addressOfPending(client),
    username,
    password,
    will: will && { topic: will.topic, qos: will.qos ?? 0, retain: will.retain ?? false },
    keepaliveSeconds: keepalive ?? 0,
  });

  const authenticateHook: Compose<'authenticate'> =
    (host) => (client, username, password, callback) => {
      const pending = pendings.get(client);
      if (pending?.admission !== undefined) {
        // A hook of the host that wrapped ours calls it again: it was decided a moment ago.
        runHost(
          () => host.call(broker, client, username, password, callback),
          () => callback(null, false),
        );
        return;
      }
      // Closing a connection wipes the QoS 2 state of its client id when `clean` is set, and until
      // the token is verified that id may be somebody else's (STANDARDS 5.3, 9).
      const isClean = client.clean;
      client.clean = false;
      const answer = once(callback);
      const refuse = (thrown: unknown): void => {
        const error = asError(thrown);
        if (!(error instanceof OAuthError)) {
          const fields = { event: 'connect.failed', detail: error.stack };
          logger.error(fields, 'unexpected error in authenticate');
        }
        const known =
          error instanceof OAuthError
            ? error
            : new UnavailableError('the broker cannot decide now', { cause: error });
        logRefusal(client, pending?.packet, known);
        const returnCode = answerCodeOf(known);
        const redirect = error instanceof HostRefusal ? redirectOf(error.cause) : undefined;
        if (pending !== undefined && isMqtt5(client) && !client.closed && !redirect) {
          const code = known instanceof BannedError ? REASON.banned : reasonCodeOf(returnCode);
          writeRefusal(client, pending.packet, code, known);
          client.emit('error', new Error(known.message)); // closes, and Aedes writes no CONNACK
        }
        answer(Object.assign(new Error(known.message), { returnCode, ...redirect }), false);
      };
      if (pending === undefined) {
        refuse(new UnavailableError('the CONNECT was not seen', { detail: 'no preConnect' }));
        return;
      }
      const { packet } = pending;
      const work = async (): Promise<Admission> => {
        const admission = await authenticate(requestOf(client, packet, username, password));
        pending.admission = admission;
        await askHost(host, client, username, password);
        if (packet.clean === false) await narrow(client, admission.context);
        return admission;
      };
      const decide = async (): Promise<void> => {
        try {
          const admission = await withinTime(work());
          if (client.closed) return; // Aedes forgets the answer too
          if (clock.now() >= admission.context.expiresAt) {
            const detail = 'expired: while it was verified';
            throw new InvalidTokenError('the access token is not valid', { detail });
          }
          open(client, packet, admission);
          client.clean = isClean;
          answer(null, true);
        } catch (thrown) {
          refuse(thrown);
        } finally {
          pendings.delete(client);
          // Aedes keeps the packet as long as the connection; the token in it has done its work.
          // Not deleted: an object that lost a property is kept as a table, larger, for good.
          Object.assign(packet, { password: undefined });
          if (tokenIn === 'username') Object.assign(packet, { username: undefined });
        }
      };
      decide().catch(() => undefined);
    };

  return { preConnect, authenticate: authenticateHook };
}
