/**
 * `GET /.well-known/oauth-authorization-server` and `GET /jwks`: what clients and verifiers need to know.
 *
 * Units   `max-age` in seconds.
 * Errors  none.
 * Source  RFC 8414 2 and 3, RFC 7517 5; `enrollment_endpoint` and `key_rotation_endpoint` are ours.
 *
 * @module
 */
import { type Issuer, metadataUrl, SIGNING_ALGORITHMS } from '@latchkey/shared';
import type { FastifyInstance } from 'fastify';
import type { SigningKeys } from '../signing-keys.js';
import { CLIENT_AUTHENTICATION_METHODS } from './client-authentication.js';

const CACHE_CONTROL = 'public, max-age=300';

/**
 * Path of the metadata: the well-known part stands before the issuer's own path (RFC 8414 3.1).
 * `grantTypes` are those that the token endpoint was given.
 */
export function metadataEndpoint(
  issuer: Issuer,
  grantTypes: readonly string[],
): (app: FastifyInstance) => Promise<void> {
  const metadata = {
    issuer,
    token_endpoint: `${issuer}/token`,
    jwks_uri: `${issuer}/jwks`,
    introspection_endpoint: `${issuer}/introspect`,
    revocation_endpoint: `${issuer}/revoke`,
    enrollment_endpoint: `${issuer}/enroll`,
    key_rotation_endpoint: `${issuer}/key-rotation`,
    grant_types_supported: grantTypes,
    response_types_supported: [],
    // With the jwt-bearer grant the assertion alone is enough.
    token_endpoint_auth_methods_supported: [...CLIENT_AUTHENTICATION_METHODS, 'none'],
    token_endpoint_auth_signing_alg_values_supported: SIGNING_ALGORITHMS,
    // An access token type stands beside the methods (RFC 8414 2).
    introspection_endpoint_auth_methods_supported: [...CLIENT_AUTHENTICATION_METHODS, 'Bearer'],
    introspection_endpoint_auth_signing_alg_values_supported: SIGNING_ALGORITHMS,
    revocation_endpoint_auth_methods_supported: CLIENT_AUTHENTICATION_METHODS,
    revocation_endpoint_auth_signing_alg_values_supported: SIGNING_ALGORITHMS,
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
      const keys = await signingKeys.published();
      return { keys: keys.map(({ kid, alg, jwk }) => ({ ...jwk, kid, use: 'sig', alg })) };
    });
  };
}
