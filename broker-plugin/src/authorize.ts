/**
 * Decides what an authenticated session may publish, subscribe to and receive.
 *
 * Pure and synchronous: the same answer is enforced, logged and shown by `explain`, so that an
 * explanation can never differ from the decision. Where the registry gives less than the token, one
 * entry of each has to cover the request.
 *
 * Units   `now`: NumericDate, by the clock of sessions.
 * Errors  none; whatever is not understood is refused.
 * Source  DESIGN 4 and 9 (I2, I4, I5, I12); STANDARDS 4.2, 4.3, 5.3 (5, 6, 12).
 *
 * @module
 */
import {
  type Allowed,
  type DenialReason,
  decide,
  type NumericDate,
  type TopicRequest,
  type TopicRights,
  type TopicScope,
} from '@latchkey/shared';
import { type DollarTopics, isOpenDollarTopic } from './dollar-topics.js';
import type { SessionContext } from './verify-token.js';

export interface Refused {
  readonly allowed: false;
  readonly reason: DenialReason | 'expired' | 'reserved-topic' | 'not-in-registry';
  /** For a person; holds no value from the wire. */
  readonly detail: string;
  /** The entry that comes closest, when there is one. */
  readonly nearest: TopicScope | undefined;
}
export type TopicDecision = Allowed | Refused;

const DOLLAR = 36;

const EXPIRED: Refused = Object.freeze({
  allowed: false,
  reason: 'expired',
  detail: 'the access token is expired',
  nearest: undefined,
});

const RESERVED: Refused = Object.freeze({
  allowed: false,
  reason: 'reserved-topic',
  detail: 'topics that begin with $ are reserved',
  nearest: undefined,
});

/** What the token allows, unless the registry does not. */
function within(ceiling: TopicRights, request: TopicRequest, allowed: Allowed): TopicDecision {
  const decision = decide(ceiling, request);
  if (decision.allowed) return allowed;
  const { detail, nearest } = decision;
  return {
    allowed: false,
    reason: 'not-in-registry',
    detail: `the token allows it, the registry does not: ${detail}`,
    nearest,
  };
}

/** Decides one request of a session, or one delivery to it, at the instant `now`. */
export type Authorize = (
  context: SessionContext,
  request: TopicRequest,
  now: NumericDate,
) => TopicDecision;

/** An entry covers a topic that begins with `$` only if it begins with that very level itself. */
export function createAuthorize(open: DollarTopics): Authorize {
  return (context, request, now) => {
    if (now >= context.expiresAt) return EXPIRED;
    const { topic } = request;
    if (topic.charCodeAt(0) === DOLLAR && !isOpenDollarTopic(open, topic)) return RESERVED;
    const decision = decide(context.rights, request);
    const { ceiling } = context;
    return ceiling === undefined || !decision.allowed
      ? decision
      : within(ceiling, request, decision);
  };
}
