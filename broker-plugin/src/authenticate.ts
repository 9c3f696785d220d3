/**
 * Decides a CONNECT: verifies the token, binds the client id, authorizes the will.
 *
 * Units   instants as NumericDate.
 * Errors  `InvalidRequestError`: the MQTT client id can be nobody's. `InvalidTokenError`: one answer
 *         for everything that is wrong with a token. `InsufficientScopeError`: a good token that
 *         does not allow this. `UnavailableError`: keys cannot be had now. `detail` is for the log.
 * Source  DESIGN 4 (CONNECT); STANDARDS 1.4, 4.1, 4.4, 5.3 (4, 5, 7, 13).
 *
 * @module
 */
import {
  type AccessTokenVerification,
  type Allowed,
  type ClientId,
  type Clock,
  compileTopicRights,
  InsufficientScopeError,
  InvalidRequestError,
  InvalidTokenError,
  type Issuer,
  JwtError,
  MAX_JWT_BYTES,
  type NumericDate,
  parseClientId,
  type ResourceId,
  type TopicRights,
  type VerifiedAccessToken,
  verifyAccessToken,
} from '@latchkey/shared';
import { authorize } from './authorize.js';

/** What a session may do, and until when. Immutable: a new token makes a new context. */
export interface SessionContext {
  readonly clientId: ClientId;
  readonly jti: string;
  readonly kid: string | undefined;
  readonly issuedAt: NumericDate;
  /** At this instant the session ends. */
  readonly expiresAt: NumericDate;
  readonly rights: TopicRights;
}

export interface WillRequest {
  readonly topic: string;
  readonly qos: number;
  readonly retain: boolean;
}

/** What a CONNECT says, as far as it matters here. */
export interface ConnectRequest {
  readonly mqttClientId: string;
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

const INVALID_TOKEN = 'the access token is not valid';

async function verify(
  password: Uint8Array | undefined,
  verification: AccessTokenVerification,
): Promise<VerifiedAccessToken> {
  if (password === undefined || password.length === 0) {
    throw new InvalidTokenError(INVALID_TOKEN, { detail: 'no token in the password' });
  }
  if (password.length > MAX_JWT_BYTES) {
    throw new InvalidTokenError(INVALID_TOKEN, { detail: 'the password is too long for a token' });
  }
  try {
    return await verifyAccessToken(Buffer.from(password).toString('latin1'), verification);
  } catch (error) {
    if (!(error instanceof JwtError)) throw error;
    const detail = `${error.reason}: ${error.message}`;
    if (error.reason === 'audience') {
      throw new InsufficientScopeError('the access token is for another resource', { detail });
    }
    throw new InvalidTokenError(INVALID_TOKEN, { detail });
  }
}

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
  readonly issuer: Issuer;
  readonly audience: ResourceId;
  readonly clock: Clock;
  readonly findKey: AccessTokenVerification['findKey'];
  readonly maxKeepaliveSeconds: number;
}): Authenticate {
  const { issuer, audience, clock, findKey, maxKeepaliveSeconds } = deps;

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
    const now = clock.now();
    const token = await verify(request.password, { issuer, audience, now, findKey });
    bind(request, token.clientId);
    const context: SessionContext = Object.freeze({
      clientId: token.clientId,
      jti: token.jti,
      kid: token.kid,
      issuedAt: token.issuedAt,
      expiresAt: token.expiresAt,
      rights: compileTopicRights(token.scope.topicScopes),
    });
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
