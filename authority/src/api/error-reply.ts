/**
 * The one place that turns an error of the management API into problem details and a log line.
 *
 * Units   `Retry-After` in seconds.
 * Errors  none; anything unexpected becomes 500 with nothing of it in the answer.
 * Source  RFC 9457, RFC 6750 3.
 *
 * @module
 */
import { ConfigError, FormatError, type Logger, type OAuthError } from '@latchkey/shared';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { RETRY_AFTER_SECONDS, toOAuthError } from '../http/failure.js';
import { type FieldError, sendProblem } from '../http/problem.js';
import { ConflictError } from '../registry/registry.js';
import { NotFoundError } from './noun.js';

interface Problem {
  readonly status: number;
  readonly detail: string;
  readonly errors?: readonly FieldError[];
}

function fieldProblem(status: number, errors: readonly FieldError[]): Problem {
  const detail = errors.map(({ field, message }) => `${field} ${message}`.trim()).join('; ');
  return { status, detail, errors };
}

/** What the caller is told; `undefined` for what nobody expected. */
function problemOf(error: unknown): Problem | undefined {
  if (error instanceof ConfigError) {
    return fieldProblem(
      400,
      error.problems.map(({ path, message }) => ({ field: path, message })),
    );
  }
  if (error instanceof FormatError) {
    return fieldProblem(400, [{ field: error.field, message: error.problem }]);
  }
  if (error instanceof ConflictError) {
    return fieldProblem(409, [{ field: error.field, message: error.problem }]);
  }
  if (error instanceof NotFoundError) return { status: 404, detail: error.message };
  const known = toOAuthError(error);
  return known && { status: known.status, detail: known.message };
}

function addHeaders(reply: FastifyReply, request: FastifyRequest, error: OAuthError): void {
  if (error.status === 503) reply.header('retry-after', RETRY_AFTER_SECONDS);
  if (error.error !== 'invalid_token' && error.error !== 'insufficient_scope') return;
  // RFC 6750 3: no error code for a request that did not try to authenticate.
  const hasTried = request.headers.authorization !== undefined;
  reply.header('www-authenticate', hasTried ? `Bearer error="${error.error}"` : 'Bearer');
}

export function createApiErrorHandler(
  logger: Logger,
): (error: unknown, request: FastifyRequest, reply: FastifyReply) => void {
  return (error, request, reply) => {
    const { clientId } = request;
    const problem = problemOf(error);
    if (problem === undefined) {
      logger.error({ event: 'api.refused', status: 500, clientId, err: error }, 'unexpected error');
      sendProblem(reply, 500, 'the server failed; its log says why');
      return;
    }
    const { status, detail, errors } = problem;
    const known = toOAuthError(error);
    if (known !== undefined) addHeaders(reply, request, known);
    logger.warn(
      { event: 'api.refused', status, detail: known?.detail ?? detail, clientId },
      'request refused',
    );
    sendProblem(reply, status, detail, errors);
  };
}
