/**
 * Decides a CONNECT: verifies the token, binds the client id, authorizes the will.
 *
 * Units   seconds where a name says so.
 * Errors  `InvalidRequestError`: the MQTT client id can be nobody's. `InvalidTokenError`: one answer
 *         for everything that is wrong with a token. `InsufficientScopeError`: a good token that
 *         does not allow this. `UnavailableError`: keys cannot be had now. `detail` is for the log.
 * Source  DESIGN 4 (CONNECT); STANDARDS 1.4, 4.1, 4.4, 5.3 (4, 5, 7, 13).
 *
 * @module
 */
import {
  type Allowed,
  type ClientId,
  type Clock,
  InsufficientScopeError,
  InvalidRequestError,
  InvalidTokenError,
} from '@latchkey/shared';
import type { Authorize } from './authorize.js';
import { type MqttClientId, parseMqttClientId } from './mqtt-client-id.js';
import { INVALID_TOKEN, type SessionContext, type VerifyToken } from './verify-token.js';

export interface WillRequest {
  readonly topic: string;
  readonly qos: number;
  readonly retain: boolean;
}

/** Which part of a CONNECT is the token. */
export type TokenPlace = 'password' | 'username';

/** What a CONNECT says, as far as it matters here. */
export interface ConnectRequest {
  readonly mqttClientId: string;
  /** Of the socket; `undefined` when it has none. */
  readonly address: string | undefined;
  readonly username: string | undefined;
  readonly password: Uint8Array | undefined;
  readonly will: WillRequest | undefined;
  readonly keepaliveSeconds: number;
}

export interface Admission {
  readonly context: SessionContext;
  /** Why the will may be published; `undefined` when there is no will. */
  readonly willDecision: Allowed | undefined;
}

export type Authenticate = (request: ConnectRequest) => Promise<Admission>;

/** The bytes where the token has to be. */
export function tokenOf(
  { username, password }: Pick<ConnectRequest, 'username' | 'password'>,
  tokenIn: TokenPlace,
): Uint8Array | undefined {
  if (tokenIn === 'password') return password;
  return username === undefined ? undefined : Buffer.from(username);
}

function readClientId(mqttClientId: string): MqttClientId {
  try {
    return parseMqttClientId(mqttClientId);
  } catch {
    const detail = 'the MQTT client id is not a client id, with or without an instance';
    throw new InvalidRequestError('the client identifier is not acceptable', { detail });
  }
}

function refuseOther(detail: string): never {
  throw new InsufficientScopeError('the access token is of another client', { detail });
}

export function createAuthenticate(deps: {
  readonly verifyToken: VerifyToken;
  readonly authorize: Authorize;
  readonly clock: Clock;
  readonly maxKeepaliveSeconds: number;
  readonly tokenIn: TokenPlace;
  /** Whether the client may have several connections, each with an instance. The token cannot say. */
  readonly mayHaveInstances: (clientId: ClientId) => boolean;
}): Authenticate {
  const { verifyToken, authorize, clock, maxKeepaliveSeconds, tokenIn, mayHaveInstances } = deps;

  /** Refuses a second credential: somebody means something by it that would not be looked at. */
  const checkPassword = ({ password }: ConnectRequest): void => {
    if (tokenIn === 'password' || !password?.length) return;
    const detail = 'password: must be empty, the token is the user name';
    throw new InvalidTokenError(INVALID_TOKEN, { detail });
  };

  /** Only its own id; and with an instance only a service. */
  const bind = (
    { username }: ConnectRequest,
    claimed: MqttClientId,
    { clientId }: SessionContext,
  ): void => {
    if (claimed.clientId !== clientId) {
      refuseOther(`client-id: the token is of ${clientId}, the MQTT client id is another`);
    }
    if (claimed.instance !== undefined && !mayHaveInstances(clientId)) {
      refuseOther(`instance: ${clientId} is no service, as far as is known here`);
    }
    if (tokenIn === 'password' && username !== undefined && username !== clientId) {
      refuseOther(`user-name: the token is of ${clientId}, the user name is another`);
    }
  };

  const admitWill = (context: SessionContext, will: WillRequest | undefined) => {
    if (will === undefined) return undefined;
    const { topic, qos, retain } = will;
    const decision = authorize(context, { action: 'publish', topic, qos, retain }, clock.now());
    if (decision.allowed) return decision;
    throw new InsufficientScopeError('the access token does not allow this will', {
      detail: `will: ${decision.reason}: ${decision.detail}`,
    });
  };

  return async (request) => {
    const claimed = readClientId(request.mqttClientId);
    checkPassword(request);
    const context = await verifyToken(tokenOf(request, tokenIn));
    bind(request, claimed, context);
    const willDecision = admitWill(context, request.will);
    const { keepaliveSeconds } = request;
    if (keepaliveSeconds < 1 || keepaliveSeconds > maxKeepaliveSeconds) {
      throw new InsufficientScopeError('the keep-alive is not allowed here', {
        detail: `keep-alive: ${keepaliveSeconds} s is not 1 to ${maxKeepaliveSeconds} s`,
      });
    }
    return { context, willDecision };
  };
}
