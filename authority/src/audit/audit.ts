/**
 * Records audit events: bounds their texts and takes control characters out of them.
 *
 * Units   lengths in characters.
 * Errors  `UnavailableError`: what cannot be recorded must not be answered.
 * Source  DESIGN 9 (I1, I10, I11).
 *
 * @module
 */
import type { AuditEvent } from '../registry/audit-log.js';
import type { Registry, SpentAssertion } from '../registry/registry.js';

export interface Audit {
  /** Resolves when the event is durable. */
  record(event: AuditEvent): Promise<void>;
  /** Spends the assertion of an active client and records the event together, or returns false. */
  recordSpending(assertion: SpentAssertion, event: AuditEvent): Promise<boolean>;
}

/** Actor of what the authority does by itself. */
export const AUTHORITY_ACTOR = 'authority';

const MAX_TEXT = 256;
const MAX_DETAIL = 512;
/** Control characters, which terminals obey, and halves of characters, which UTF-8 does not have. */
const UNPRINTABLE = /[\p{Cc}\p{Cs}]/gu;

function bounded(text: string | undefined, maxLength: number): string | undefined {
  return text?.slice(0, maxLength).replaceAll(UNPRINTABLE, '?');
}

/** The event as it may be kept, whatever a stranger put into its request. */
export function boundedEvent(event: AuditEvent): AuditEvent {
  return {
    ...event,
    actor: bounded(event.actor, MAX_TEXT),
    target: bounded(event.target, MAX_TEXT),
    address: bounded(event.address, MAX_TEXT),
    clientId: bounded(event.clientId, MAX_TEXT),
    jti: bounded(event.jti, MAX_TEXT),
    kid: bounded(event.kid, MAX_TEXT),
    detail: bounded(event.detail, MAX_DETAIL),
  };
}

/** What the authority does by itself. */
export const ownEvent = (action: string, target?: string): AuditEvent => ({
  type: 'authority',
  actor: AUTHORITY_ACTOR,
  action,
  target,
  outcome: 'ok',
  address: undefined,
});

export function createAudit(deps: {
  readonly log: Pick<Registry, 'recordEvent' | 'spendAndRecord'>;
}): Audit {
  const { log } = deps;
  return {
    record: (event) => log.recordEvent(boundedEvent(event)),
    recordSpending: (assertion, event) => log.spendAndRecord(assertion, boundedEvent(event)),
  };
}
