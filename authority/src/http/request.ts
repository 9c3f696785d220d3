/**
 * What the authority keeps with a request: whose it is, as far as is known.
 *
 * Units   none.
 * Errors  none.
 * Source  https://fastify.dev/docs/latest/Reference/Decorators
 *
 * @module
 */
import type { ClientId } from '@latchkey/shared';
import type { AuditEvent } from '../registry/audit-log.js';

/** `actor`: proven. */
export type AuditFacts = Partial<Pick<AuditEvent, 'actor' | 'clientId' | 'jti' | 'kid' | 'target'>>;

declare module 'fastify' {
  interface FastifyRequest {
    /** The client that the request names, for the log; verified or not. */
    clientId: ClientId | undefined;
    /** What the audit log is told beside the kind of request, as far as is known. */
    auditFacts: AuditFacts | undefined;
  }
}
