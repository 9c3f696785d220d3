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
import { retryAfterOf, toOAuthError } from '../http/failure.js';
import { type FieldError, sendProblem } from '../http/problem.js';
import { MissingError, OutOfReachError, VersionError } from '../registry/lifecycle.js';
import { ConflictError } from '../registry/registry.js';

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
export function problemOf(error: unknown): Problem | undefined {
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
  if (error instanceof MissingError) return { status: 404, detail: error.message };
  if (error instanceof OutOfReachError) return { status: 403, detail: error.message };
  if (error instanceof VersionError) return { status: 412, detail: error.message };
  const known = toOAuthError(error);
  return known && { status: known.status, detail: known.message };
}

function addHeaders(reply: FastifyReply, request: FastifyRequest, error: OAuthError): void {
  const retryAfter = retryAfterOf(error);
  if (retryAfter !== undefined) reply.header('retry-after', retryAfter);
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
    // A flood that is held back must not flood the log.
    logger[status === 429 ? 'debug' : 'warn'](
      { event: 'api.refused', status, detail: known?.detail ?? detail, clientId },
      'request refused',
    );
    sendProblem(reply, status, detail, errors);
  };
}
