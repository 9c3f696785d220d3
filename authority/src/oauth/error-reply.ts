/**
 * The one place that turns an error of the OAuth endpoints into an answer and a log line.
 *
 * Units   `Retry-After` in seconds.
 * Errors  none; anything unexpected becomes `server_error` with nothing of it in the answer.
 * Source  RFC 6749 5.2, RFC 6750 3, RFC 9110 15.5.2 (a 401 names a scheme), RFC 7617 2.
 *
 * @module
 */
import type { Logger } from '@latchkey/shared';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { retryAfterOf, toOAuthError } from '../http/failure.js';

/** What a 401 says about how to authenticate. */
const CHALLENGES = new Map([
  ['invalid_client', 'Basic realm="latchkey", charset="UTF-8"'],
  ['invalid_token', 'Bearer realm="latchkey", error="invalid_token"'],
  ['insufficient_scope', 'Bearer realm="latchkey", error="insufficient_scope"'],
]);

export function createOAuthErrorHandler(deps: {
  readonly logger: Logger;
  /** Name of the log event, such as `token.refused`. */
  readonly event: string;
  /** Told the error code of each refusal. */
  readonly onRefusal?: (error: string) => void;
}): (error: unknown, request: FastifyRequest, reply: FastifyReply) => void {
  const { logger, event, onRefusal } = deps;
  return (error, request, reply) => {
    const known = toOAuthError(error);
    const { clientId } = request;
    onRefusal?.(known?.error ?? 'server_error');
    reply.header('cache-control', 'no-store');
    if (known === undefined) {
      logger.error({ event, error: 'server_error', clientId, err: error }, 'unexpected error');
      reply
        .code(500)
        .send({ error: 'server_error', error_description: 'the server failed; its log says why' });
      return;
    }
    const detail = known.detail ?? known.message;
    // A flood that is held back must not flood the log.
    const level = known.status === 429 ? 'debug' : 'warn';
    logger[level]({ event, error: known.error, detail, clientId }, 'request refused');
    const retryAfter = retryAfterOf(known);
    if (retryAfter !== undefined) reply.header('retry-after', retryAfter);
    const challenge = CHALLENGES.get(known.error);
    if (challenge !== undefined) reply.header('www-authenticate', challenge);
    reply.code(known.status).send({ error: known.error, error_description: known.message });
  };
}
