/**
 * Parameters of the OAuth endpoints, from a form or a JSON body: each at most once, empty ones as if
 * absent.
 *
 * Units   none.
 * Errors  `InvalidRequestError`, naming the parameter when its name is harmless.
 * Source  RFC 6749 3.2 and appendix B; WHATWG URL (application/x-www-form-urlencoded); RFC 8259 4.
 *
 * @module
 */
import { FormatError, InvalidRequestError, parseJsonObject } from '@latchkey/shared';
import type { FastifyInstance, FastifyRequest } from 'fastify';

export type RequestParameters = ReadonlyMap<string, string>;

/** A name as it may be shown to its sender. */
function shown(name: string): string {
  return /^[a-z_]{1,64}$/.test(name) ? name : 'a parameter';
}

export function parseFormBody(body: string): RequestParameters {
  const parameters = new Map<string, string>();
  const seen = new Set<string>();
  for (const [name, value] of new URLSearchParams(body)) {
    if (seen.has(name)) throw new InvalidRequestError(`${shown(name)} is repeated`);
    seen.add(name);
    if (value !== '') parameters.set(name, value);
  }
  return parameters;
}

/** One JSON object of strings, as some clients send it; a `Map`, so that any name is a plain name. */
export function parseJsonBody(body: Uint8Array): RequestParameters {
  const parameters = new Map<string, string>();
  try {
    for (const [name, value] of Object.entries(parseJsonObject(body, 'the body'))) {
      if (typeof value !== 'string') {
        throw new InvalidRequestError(`${shown(name)} must be a string`);
      }
      if (value !== '') parameters.set(name, value);
    }
  } catch (error) {
    throw error instanceof FormatError ? new InvalidRequestError(error.message) : error;
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

/** Lets the routes of `app` read parameters from JSON bodies too. */
export function acceptJsonParameters(app: FastifyInstance): void {
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'buffer' },
    async (_request: unknown, body: Buffer) => parseJsonBody(body),
  );
}

/** Parameters of a request to a route of such an `app`. */
export function readParameters({ body }: FastifyRequest): RequestParameters {
  if (!(body instanceof Map)) throw new InvalidRequestError('the body is missing');
  return body as RequestParameters;
}
