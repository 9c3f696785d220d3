/**
 * `GET /.well-known/oauth-authorization-server` and `GET /jwks`: what clients and verifiers need to know.
 *
 * Units   `max-age` in seconds.
 * Errors  none.
 * Source  RFC 8414 2 and 3, RFC 7517 5; `enrollment_endpoint` is ours.
 *
 * @module
 */
import { type Issuer, JWT_BEARER_GRANT, metadataUrl } from '@latchkey/shared';
import type { FastifyInstance } from 'fastify';
import type { SigningKeys } from '../signing-keys.js';

const CACHE_CONTROL = 'public, max-age=300';

/** Path of the metadata: the well-known part stands before the issuer's own path (RFC 8414 3.1). */
export function metadataEndpoint(issuer: Issuer): (app: FastifyInstance) => Promise<void> {
  const metadata = {
    issuer,
    token_endpoint: `${issuer}/token`,
    jwks_uri: `${issuer}/jwks`,
    enrollment_endpoint: `${issuer}/enroll`,
    grant_types_supported: [JWT_BEARER_GRANT],
    response_types_supported: [],
    token_endpoint_auth_methods_supported: ['none'],
  };
  return async (app) => {
    app.get(new URL(metadataUrl(issuer)).pathname, async (_request, reply) => {
      reply.header('cache-control', CACHE_CONTROL);
      return metadata;
    });
  };
}

export function jwksEndpoint(signingKeys: SigningKeys): (app: FastifyInstance) => Promise<void> {
  return async (app) => {
    app.get('/jwks', async (_request, reply) => {
      reply.header('cache-control', CACHE_CONTROL);
      const { alg } = signingKeys.active;
      return {
        keys: signingKeys.published.map(({ kid, jwk }) => ({ ...jwk, kid, use: 'sig', alg })),
      };
    });
  };
}
