/**
 * Audits requests in one place: a change together with its commit, a refusal before it is answered.
 *
 * Units   none.
 * Errors  none of its own. What cannot be recorded as refused stays refused, and the log says so.
 * Source  DESIGN 5; https://fastify.dev/docs/latest/Reference/Hooks (onError, preHandler).
 *
 * @module
 */
import type { Logger } from '@latchkey/shared';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { addressOf } from '../http/address.js';
import { toOAuthError } from '../http/failure.js';
import { RateLimitedError } from '../http/request-limits.js';
import type { AuditEvent, AuditLog } from '../registry/audit-log.js';
import type { ImportOutcome } from '../registry/client-import.js';
import { type Audit, boundedEvent } from './audit.js';

/** What a request wants; its outcome is added. */
export type Attempt = Pick<AuditEvent, 'type' | 'action' | 'target'> &
  Partial<Pick<AuditEvent, 'actor' | 'clientId' | 'jti' | 'kid'>>;

export interface RequestAuditDeps {
  readonly audit: Audit;
  readonly logger: Logger;
  /** `undefined` for a request that is not audited, such as a list. */
  readonly describe: (request: FastifyRequest) => Attempt | undefined;
  /** Errors that are expected beside those of OAuth. */
  readonly sortError?: (error: unknown) => { readonly detail: string } | undefined;
}

/** Reason of a refusal. Nothing of an unexpected error, which may say anything. */
function reasonOf(
  error: unknown,
  sort: RequestAuditDeps['sortError'],
): Pick<AuditEvent, 'outcome' | 'detail'> {
  const known = toOAuthError(error);
  if (known !== undefined) {
    const outcome = known.status < 500 ? 'refused' : 'failed';
    return { outcome, detail: `${known.error}: ${known.detail ?? known.message}` };
  }
  const sorted = sort?.(error);
  if (sorted === undefined) return { outcome: 'failed', detail: 'server_error' };
  return { outcome: 'refused', detail: sorted.detail };
}

/** Records every request of `app` that is refused, before its answer is sent. */
export function auditRefusals(app: FastifyInstance, deps: RequestAuditDeps): void {
  const { audit, logger, describe, sortError } = deps;
  app.addHook('onError', async (request, _reply, error) => {
    const attempt = describe(request);
    // A flood that is held back must not fill the log either.
    if (attempt === undefined || error instanceof RateLimitedError) return;
    const { clientId } = request;
    const event = { actor: undefined, clientId, ...attempt, ...reasonOf(error, sortError) };
    try {
      await audit.record({ ...event, address: addressOf(request) });
    } catch (err) {
      logger.error({ event: 'audit.failed', err, clientId }, 'a refusal could not be recorded');
    }
  });
}

/** Names the item that was made by a `create` on a collection such as `/roles`. */
function made({ action, target = '' }: Attempt, result: unknown): Partial<AuditEvent> {
  if (action !== 'create' || target.indexOf('/', 1) !== -1) return {};
  const { id, identifier, name, kind } = { ...(result as Record<string, unknown> | undefined) };
  const key = id ?? identifier ?? name;
  if (key === undefined) return {};
  const isClient = kind === 'device' || kind === 'service';
  return { target: `${target}/${key}`, ...(isClient && { clientId: String(key) }) };
}

/** An import, and each client that it registered. */
function importEvents<Event extends Attempt>(
  event: Event,
  outcomes: readonly ImportOutcome[],
): readonly (Event & Partial<AuditEvent>)[] {
  const idsOf = (outcome: ImportOutcome['outcome']) =>
    outcomes.filter((one) => one.outcome === outcome).map(({ id }) => id);
  const [created, unchanged, refused] = [idsOf('created'), idsOf('unchanged'), idsOf('refused')];
  const detail = `${created.length} registered, ${unchanged.length} there already, ${refused.length} refused`;
  return [
    { ...event, detail },
    ...created.map((clientId) => ({
      ...{ ...event, action: 'create', target: `${event.target}/${clientId}`, clientId },
      detail: 'imported',
    })),
  ];
}

/** Commits every change that the requests of `app` make with its event, and records refusals. */
export function auditChanges(
  app: FastifyInstance,
  deps: RequestAuditDeps & { readonly log: Pick<AuditLog, 'withEvent'> },
): void {
  const { log, describe } = deps;
  // With a callback, since what it starts inherits the event, and what follows an `await` does not.
  app.addHook('preHandler', (request, _reply, done) => {
    if (describe(request) === undefined) {
      done();
      return;
    }
    const address = addressOf(request);
    const draft = {
      describe: (result: unknown) => {
        const { clientId } = request;
        // Asked again, since more is known now.
        const attempt = describe(request) as Attempt;
        const event = { actor: undefined, clientId, ...attempt, address, outcome: 'ok' } as const;
        if (attempt.action !== 'import')
          return boundedEvent({ ...event, ...made(attempt, result) });
        return importEvents(event, result as readonly ImportOutcome[]).map(boundedEvent);
      },
    };
    log.withEvent(draft, done);
  });
  auditRefusals(app, deps);
}
