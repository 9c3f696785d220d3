/**
 * Says what a token, or a client that is connected now, may do, and why.
 *
 * It is the code that decides, asked without a packet: the same verification, the same rights, the
 * same answer. A publication to the topic of renewals is no publication, so it is refused here.
 *
 * Units   instants as NumericDate.
 * Errors  none; what would refuse a client is an answer here.
 * Source  DESIGN 6 (`explain`), 9 (I1, I12).
 *
 * @module
 */
import {
  type Clock,
  formatTopicScope,
  type NumericDate,
  OAuthError,
  type Qos,
  type TopicRequest,
} from '@latchkey/shared';
import type { Authorize, TopicDecision } from './authorize.js';
import type { SessionContext, VerifyToken } from './verify-token.js';

export type ExplainSubject =
  /** An access token, verified as a CONNECT would. */
  | { readonly token: string }
  /** A client that is connected here, with the rights that it has now. */
  | { readonly clientId: string };

export type ExplainRequest = ExplainSubject & {
  /** `receive` asks for the delivery of a message, `topic` being a topic name. */
  readonly action: 'publish' | 'subscribe' | 'receive';
  /** Topic name, or topic filter for `subscribe`. */
  readonly topic: string;
  /** Default 0. */
  readonly qos?: Qos;
  /** Default false. */
  readonly retain?: boolean;
};

/** Why a decision is what it is, with scopes in their canonical text. */
export type DecisionReason =
  | { readonly allowed: true; readonly scope: string }
  | {
      readonly allowed: false;
      /** Stable; an OAuth error code when the token itself is refused. */
      readonly reason: string;
      /** For a person. */
      readonly detail: string;
      /** The scope that comes closest, when there is one. */
      readonly nearest?: string;
    };

export type Explanation = DecisionReason & {
  /** Whose rights were asked; absent when the token is refused or the client is not connected. */
  readonly clientId?: string;
  /** Of the token; a session in its grace is past it. */
  readonly expiresAt?: NumericDate;
};

export type Explain = (request: ExplainRequest) => Promise<Explanation>;

export function describeDecision(decision: TopicDecision): DecisionReason {
  if (decision.allowed) return { allowed: true, scope: formatTopicScope(decision.scope) };
  const { reason, detail, nearest } = decision;
  const closest = nearest === undefined ? {} : { nearest: formatTopicScope(nearest) };
  return { allowed: false, reason, detail, ...closest };
}

function requestOf({ action, topic, qos = 0, retain = false }: ExplainRequest): TopicRequest {
  if (action === 'publish') return { action, topic, qos, retain };
  return action === 'subscribe' ? { action, topic, qos } : { action, topic };
}

export function createExplain(deps: {
  readonly verifyToken: VerifyToken;
  /** The context of the live session of a client. */
  readonly findContext: (clientId: string) => SessionContext | undefined;
  /** By which sessions end. */
  readonly authorize: Authorize;
  readonly clock: Clock;
}): Explain {
  const { verifyToken, findContext, authorize, clock } = deps;

  return async (request) => {
    let context: SessionContext | undefined;
    try {
      context =
        'token' in request
          ? await verifyToken(Buffer.from(request.token))
          : findContext(request.clientId);
    } catch (error) {
      if (!(error instanceof OAuthError)) throw error;
      const detail = error.detail ?? error.message;
      return { allowed: false, reason: error.error, detail };
    }
    if (context === undefined) {
      return { allowed: false, reason: 'no-session', detail: 'the client is not connected here' };
    }
    const { clientId, expiresAt } = context;
    const decision = authorize(context, requestOf(request), clock.now());
    return { ...describeDecision(decision), clientId, expiresAt };
  };
}
