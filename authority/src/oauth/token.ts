/**
 * `POST /token`: trades a grant for an access token.
 *
 * Units   none.
 * Errors  RFC 6749 5.2 as JSON; see `oauth/error-reply.ts`.
 * Source  RFC 6749 3.2 and 5, RFC 7523 2.1; STANDARDS 2.3.
 *
 * @module
 */
import { InvalidRequestError, type Logger, UnsupportedGrantTypeError } from '@latchkey/shared';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { acceptForm, type FormParameters } from '../http/form-body.js';
import { MAX_OAUTH_BODY_BYTES } from '../http/server.js';
import { createOAuthErrorHandler } from './error-reply.js';
import type { Grant } from './grants/grant.js';

/** Ways to authenticate that must not be ignored when present (RFC 7523 3.1) and are not served yet. */
const CLIENT_AUTHENTICATION = ['client_assertion', 'client_assertion_type', 'client_secret'];

function readForm({ body }: FastifyRequest): FormParameters {
  if (!(body instanceof Map)) throw new InvalidRequestError('the body is missing');
  return body as FormParameters;
}

function refuseClientAuthentication(request: FastifyRequest, form: FormParameters): void {
  const name = CLIENT_AUTHENTICATION.find((parameter) => form.has(parameter));
  if (name !== undefined || request.headers.authorization !== undefined) {
    throw new InvalidRequestError(
      `${name ?? 'the authorization header'} is not expected: the assertion alone tells who the client is`,
    );
  }
}

function chooseGrant(form: FormParameters, grants: ReadonlyMap<string, Grant>): Grant {
  const grantType = form.get('grant_type');
  if (grantType === undefined) throw new InvalidRequestError('grant_type is missing');
  const grant = grants.get(grantType);
  if (grant === undefined) {
    throw new UnsupportedGrantTypeError(
      `grant_type must be one of: ${[...grants.keys()].join(' ')}`,
    );
  }
  return grant;
}

export function tokenEndpoint(deps: {
  readonly grants: readonly Grant[];
  readonly logger: Logger;
}): (app: FastifyInstance) => Promise<void> {
  const grants = new Map(deps.grants.map((grant) => [grant.grantType, grant]));
  return async (app) => {
    acceptForm(app);
    app.setErrorHandler(createOAuthErrorHandler({ logger: deps.logger, event: 'token.refused' }));
    app.post('/token', { bodyLimit: MAX_OAUTH_BODY_BYTES }, async (request, reply) => {
      const form = readForm(request);
      refuseClientAuthentication(request, form);
      const grant = chooseGrant(form, grants);
      const answer = await grant.handle(form, (clientId) => {
        request.clientId = clientId;
      });
      reply.header('cache-control', 'no-store');
      return answer;
    });
  };
}
