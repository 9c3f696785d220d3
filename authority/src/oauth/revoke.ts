/**
 * `POST /revoke`: a client gives up one of its own access tokens before it expires.
 *
 * Introspection and the management API refuse the token at once. A resource server that only checks
 * signatures accepts it until it expires; what ends everything of a client there is `tokensNotBefore`
 * and its status, which the operator sets.
 *
 * Units   NumericDate.
 * Errors  `InvalidClientError`, `InvalidRequestError`; `InvalidGrantError` for a token of another
 *         client. What is no live token of ours is answered with 200: it is not valid, as wished.
 * Source  RFC 7009 2; STANDARDS 3.5.
 *
 * @module
 */
import { InvalidGrantError, InvalidRequestError, type Logger } from '@latchkey/shared';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Audit } from '../audit/audit.js';
import { type Attempt, auditChanges } from '../audit/request-audit.js';
import { acceptForm, readParameters } from '../http/parameters.js';
import { MAX_OAUTH_BODY_BYTES } from '../http/server.js';
import type { Registry } from '../registry/registry.js';
import type { ClientAuthentication } from './client-authentication.js';
import { createOAuthErrorHandler } from './error-reply.js';
import type { OwnTokens } from './own-tokens.js';

const describeRevocation = ({ auditFacts }: FastifyRequest): Attempt => ({
  type: 'token',
  action: 'revoke',
  target: undefined,
  ...auditFacts,
});

export function revocationEndpoint(deps: {
  readonly registry: Registry;
  readonly ownTokens: OwnTokens;
  readonly authentication: ClientAuthentication;
  readonly audit: Audit;
  readonly logger: Logger;
}): (app: FastifyInstance) => Promise<void> {
  const { registry, ownTokens, authentication, audit, logger } = deps;

  return async (app) => {
    acceptForm(app);
    app.setErrorHandler(createOAuthErrorHandler({ logger, event: 'revoke.refused' }));
    auditChanges(app, { audit, log: registry, logger, describe: describeRevocation });
    app.post('/revoke', { bodyLimit: MAX_OAUTH_BODY_BYTES }, async (request, reply) => {
      const parameters = readParameters(request);
      const { clientId } = await authentication.require({
        authorization: request.headers.authorization,
        parameters,
        noteClient: (id) => {
          request.clientId = id;
        },
      });
      request.auditFacts = { actor: clientId };
      const text = parameters.get('token');
      if (text === undefined) throw new InvalidRequestError('token is missing');
      const token = await ownTokens.verify(text);
      if (token !== undefined) {
        if (token.clientId !== clientId) {
          throw new InvalidGrantError('the token was issued to another client');
        }
        request.auditFacts = { actor: clientId, jti: token.jti, target: token.audience };
        await registry.revokeToken(token);
        logger.info({ event: 'token.revoked', clientId, jti: token.jti }, 'token revoked');
      }
      return reply.header('cache-control', 'no-store').send();
    });
  };
}
