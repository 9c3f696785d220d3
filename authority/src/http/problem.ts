/**
 * Problem details, the form of errors outside the OAuth endpoints.
 *
 * Units   `status`: HTTP status code.
 * Errors  none; it writes them.
 * Source  RFC 9457.
 *
 * @module
 */
import { STATUS_CODES } from 'node:http';
import type { FastifyReply } from 'fastify';

export interface FieldError {
  /** Dotted path in the request's body; empty for the whole. */
  readonly field: string;
  readonly message: string;
}

export function sendProblem(
  reply: FastifyReply,
  status: number,
  detail: string,
  errors?: readonly FieldError[],
): void {
  const problem = { title: STATUS_CODES[status], status, detail, ...(errors && { errors }) };
  reply
    .code(status)
    .header('content-type', 'application/problem+json')
    .header('cache-control', 'no-store')
    .send(JSON.stringify(problem));
}
