/**
 * JSON bodies: one object in UTF-8 that names no member twice.
 *
 * Units   none.
 * Errors  `InvalidRequestError`.
 * Source  RFC 8259 4.
 *
 * @module
 */
import { FormatError, InvalidRequestError, parseJsonObject } from '@latchkey/shared';
import type { FastifyInstance } from 'fastify';

/** Lets the routes of `app` read JSON bodies. */
export function acceptJson(app: FastifyInstance): void {
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'buffer' },
    async (_request: unknown, body: Buffer) => {
      try {
        return parseJsonObject(body, 'body');
      } catch (error) {
        if (!(error instanceof FormatError)) throw error;
        throw new InvalidRequestError(error.message);
      }
    },
  );
}
