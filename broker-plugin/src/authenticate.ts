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
  parseClientId,
} from '@latchkey/shared';
import { authorize } from './authorize.js';
import type { SessionContext, VerifyToken } from './verify-token.js';

export interface WillRequest {
  readonly topic: string;
  readonly qos: number;
  readonly retain: boolean;
}

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

function checkClientId(mqttClientId: string): void {
  try {
    parseClientId(mqttClientId);
  } catch {
    const detail = 'the MQTT client id is not a client id';
    throw new InvalidRequestError('the client identifier is not acceptable', { detail });
  }
}

/** Only exactly its own id: the token does not say whether a client is a service. */
function bind(request: ConnectRequest, clientId: ClientId): void {
  const refuse = (detail: string): never => {
    throw new InsufficientScopeError('the access token is of another client', { detail });
  };
  if (request.mqttClientId !== clientId) {
    refuse(`client-id: the token is of ${clientId}, the MQTT client id is another`);
  }
  if (request.username !== undefined && request.username !== clientId) {
    refuse(`user-name: the token is of ${clientId}, the user name is another`);
  }
}

export function createAuthenticate(deps: {
  readonly verifyToken: VerifyToken;
  readonly clock: Clock;
  readonly maxKeepaliveSeconds: number;
}): Authenticate {
  const { verifyToken, clock, maxKeepaliveSeconds } = deps;

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
    checkClientId(request.mqttClientId);
    const context = await verifyToken(request.password);
    bind(request, context.clientId);
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
