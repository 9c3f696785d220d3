/**
 * What an error thrown by an endpoint means, before it takes the form of the endpoint's kind.
 *
 * Units   none.
 * Errors  none; it sorts them.
 * Source  STYLE 2.5.
 *
 * @module
 */
import { InvalidRequestError, OAuthError } from '@latchkey/shared';
import { RateLimitedError } from './request-limits.js';

/** When the registry cannot be used now. */
const RETRY_AFTER_SECONDS = '5';

/** Seconds after which the client may try again, for the header `Retry-After`; `undefined`: at once. */
export function retryAfterOf(error: OAuthError): string | undefined {
  if (error instanceof RateLimitedError) return String(error.retryAfterSeconds);
  return error.status === 503 ? RETRY_AFTER_SECONDS : undefined;
}

/** Codes of fastify's own refusals while it reads a request. */
const REQUEST_PROBLEMS = new Map([
  ['FST_ERR_CTP_BODY_TOO_LARGE', { status: 413, message: 'the body is too large' }],
  ['FST_ERR_CTP_INVALID_MEDIA_TYPE', { status: 415, message: 'the content type is not expected' }],
  ['FST_ERR_CTP_INVALID_CONTENT_LENGTH', { status: 400, message: 'the body is not complete' }],
  ['FST_ERR_CTP_EMPTY_TYPE', { status: 415, message: 'the content type is missing' }],
]);

/** The error as one that may be answered, or `undefined` for what nobody expected. */
export function toOAuthError(error: unknown): OAuthError | undefined {
  if (error instanceof OAuthError) return error;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const known = REQUEST_PROBLEMS.get(code);
  return known && new InvalidRequestError(known.message, { status: known.status });
}
