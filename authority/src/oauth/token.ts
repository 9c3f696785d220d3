/**
 * `POST /token`: trades a grant for an access token.
 *
 * The body is a form, as the standard says, or the same parameters as one JSON object of strings.
 *
 * Units   `durationMs` in milliseconds.
 * Errors  RFC 6749 5.2 as JSON; see `oauth/error-reply.ts`.
 * Source  RFC 6749 3.2 and 5, RFC 7523 2.1; STANDARDS 2.3.
 *
 * @module
 */
import { InvalidRequestError, type Logger, UnsupportedGrantTypeError } from '@latchkey/shared';
import type { FastifyInstance } from 'fastify';
import type { Audit } from '../audit/audit.js';
import { type Attempt, auditRefusals } from '../audit/request-audit.js';
import { addressOf } from '../http/address.js';
import {
  acceptForm,
  acceptJsonParameters,
  type RequestParameters,
  readParameters,
} from '../http/parameters.js';
import { MAX_OAUTH_BODY_BYTES } from '../http/server.js';
import type { Metrics } from '../metrics.js';
import type { ClientAuthentication, NoteClient } from './client-authentication.js';
import { createOAuthErrorHandler } from './error-reply.js';
import type { Grant } from './grants/grant.js';

function chooseGrant(parameters: RequestParameters, grants: ReadonlyMap<string, Grant>): Grant {
  const grantType = parameters.get('grant_type');
  if (grantType === undefined) throw new InvalidRequestError('grant_type is missing');
  const grant = grants.get(grantType);
  if (grant === undefined) {
    throw new UnsupportedGrantTypeError(
      `grant_type must be one of: ${[...grants.keys()].join(' ')}`,
    );
  }
  return grant;
}

const describeTokenRequest = (): Attempt => ({ type: 'token', action: 'issue', target: undefined });

export function tokenEndpoint(deps: {
  readonly grants: readonly Grant[];
  readonly authentication: ClientAuthentication;
  readonly metrics: Metrics;
  readonly audit: Audit;
  readonly logger: Logger;
}): (app: FastifyInstance) => Promise<void> {
  const { authentication, metrics, audit, logger } = deps;
  const grants = new Map(deps.grants.map((grant) => [grant.grantType, grant]));
  return async (app) => {
    acceptForm(app);
    acceptJsonParameters(app);
    app.setErrorHandler(
      createOAuthErrorHandler({
        logger,
        event: 'token.refused',
        onRefusal: (error) => metrics.tokenRefused(error),
      }),
    );
    auditRefusals(app, { audit, logger, describe: describeTokenRequest });
    app.post('/token', { bodyLimit: MAX_OAUTH_BODY_BYTES }, async (request, reply) => {
      const parameters = readParameters(request);
      const noteClient: NoteClient = (clientId) => {
        request.clientId = clientId;
      };
      const grant = chooseGrant(parameters, grants);
      const { authorization } = request.headers;
      const client = await authentication.authenticate({ authorization, parameters, noteClient });
      const answer = await grant.handle({
        parameters,
        client,
        noteClient,
        address: addressOf(request),
      });
      metrics.tokenIssued(grant.label, reply.elapsedTime);
      reply.header('cache-control', 'no-store');
      return answer;
    });
  };
}
