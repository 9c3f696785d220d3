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

declare module 'fastify' {
  interface FastifyRequest {
    /** The client that the request names, for the log; verified or not. */
    clientId: ClientId | undefined;
  }
}
