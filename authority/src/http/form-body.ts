/**
 * Form bodies as OAuth wants them: each parameter at most once, empty ones as if absent.
 *
 * Units   none.
 * Errors  `InvalidRequestError` naming the repeated parameter.
 * Source  RFC 6749 3.2 and appendix B; WHATWG URL (application/x-www-form-urlencoded).
 *
 * @module
 */
import { InvalidRequestError } from '@latchkey/shared';
import type { FastifyInstance } from 'fastify';

export type FormParameters = ReadonlyMap<string, string>;

export function parseFormBody(body: string): FormParameters {
  const parameters = new Map<string, string>();
  const seen = new Set<string>();
  for (const [name, value] of new URLSearchParams(body)) {
    if (seen.has(name)) {
      const shown = /^[a-z_]{1,64}$/.test(name) ? name : 'a parameter';
      throw new InvalidRequestError(`${shown} is repeated`);
    }
    seen.add(name);
    if (value !== '') parameters.set(name, value);
  }
  return parameters;
}

/** Lets the routes of `app` read form bodies. */
export function acceptForm(app: FastifyInstance): void {
  app.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string' },
    async (_request: unknown, body: string) => parseFormBody(body),
  );
}
