/**
 * Status as the local socket tells it, and `latchkey-agent status` shows it.
 *
 * Units   NumericDate, seconds, sizes in bytes.
 * Errors  none.
 * Source  DESIGN 7; invariant I1 (never the token itself).
 *
 * @module
 */
import type { Kid } from '@latchkey/shared';
import type { AuthorityTime } from './authority-time.js';
import type { AgentConfig } from './config.js';
import { type Health, healthBody } from './health.js';
import type { Identity } from './identity.js';
import type { Outbox } from './outbox.js';
import type { AgentStatus } from './state.js';

export function statusBody(of: {
  readonly status: AgentStatus;
  readonly config: AgentConfig;
  readonly identity: Identity;
  /** Of the key in use. */
  readonly kid: Kid;
  readonly outbox: Pick<Outbox, 'messages' | 'bytes'>;
  readonly clock: AuthorityTime;
  readonly health: Pick<Health, 'problems'>;
}): object {
  const { identity, outbox, clock, health } = of;
  const { broker } = of.config;
  const { state, since, detail, needsOperator, token, lastError, counters } = of.status;
  const snake = (name: string): string => name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
  return {
    state,
    since,
    detail: detail ?? null,
    ...healthBody(health.problems()),
    needs_operator: needsOperator,
    pid: process.pid,
    client_id: identity.clientId,
    issuer: identity.issuer,
    kid: of.kid,
    broker: (of.status.broker ?? broker.urls[0]).href,
    resource: broker.resource,
    token: token === undefined ? null : { expires_at: token.expiresAt, scope: token.scope },
    clock_ahead_seconds: clock.isKnown ? clock.aheadSeconds() : null,
    last_error: lastError ?? null,
    outbox: { messages: outbox.messages, bytes: outbox.bytes },
    counters: Object.fromEntries(Object.entries(counters).map(([k, n]) => [snake(k), n])),
  };
}
