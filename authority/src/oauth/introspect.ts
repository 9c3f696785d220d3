/**
 * `POST /introspect`: tells a resource server whether a token is good, and what it allows.
 *
 * Who may know: a caller whose roles hold, at the resource that the token is for, a permission named
 * `introspect` or ending in `:introspect`; or, at the management API, `tokens:introspect` or `all`,
 * for the tokens of every resource. The latter may also come as a bearer token instead of client
 * credentials. An operator limited to a label learns of that label's clients only. To anybody else,
 * and for anything that is not a live token of this authority, the answer is `{"active":false}`.
 *
 * A resource server that reads signatures itself needs this endpoint only to learn of revocation.
 *
 * Units   NumericDate.
 * Errors  `InvalidClientError`, `InvalidTokenError`, `InsufficientScopeError` (the caller may not ask),
 *         `InvalidRequestError`.
 * Source  RFC 7662 2; STANDARDS 3.5.
 *
 * @module
 */
import {
  formatScope,
  InvalidClientError,
  InvalidRequestError,
  type Issuer,
  type Logger,
  type ResourceId,
  type VerifiedOwnToken,
} from '@latchkey/shared';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Authenticate } from '../api/authenticate.js';
import { authorize } from '../api/operator.js';
import { acceptForm, readParameters } from '../http/parameters.js';
import { MAX_OAUTH_BODY_BYTES } from '../http/server.js';
import { MANAGEMENT_SCOPE, managementResource } from '../management.js';
import type { Reach } from '../registry/lifecycle.js';
import type { ClientRights, Registry } from '../registry/registry.js';
import type { ClientAuthentication } from './client-authentication.js';
import { createOAuthErrorHandler } from './error-reply.js';
import { liveClient, type OwnTokens } from './own-tokens.js';

/** Scope at the management API, beside `all`, that lets its holder introspect every token. */
const INTROSPECTION_SCOPE = 'tokens:introspect';

/** What a caller may see. */
interface Reader {
  mayRead(audience: ResourceId): boolean;
  readonly reach: Reach;
}

const INACTIVE = { active: false };

function readerOf({ permissions }: ClientRights, issuer: Issuer): Reader['mayRead'] {
  const own = managementResource(issuer);
  const readsAll = permissions.some(
    ({ resource, name }) =>
      resource === own && [MANAGEMENT_SCOPE, INTROSPECTION_SCOPE].includes(name),
  );
  const readable = new Set(
    permissions
      .filter(({ resource, name }) => resource !== own && /(^|:)introspect$/.test(name))
      .map(({ resource }) => resource),
  );
  return (audience) => readsAll || readable.has(audience);
}

function describe(token: VerifiedOwnToken, issuer: Issuer): Readonly<Record<string, unknown>> {
  return {
    active: true,
    scope: formatScope(token.scope),
    client_id: token.clientId,
    token_type: 'Bearer',
    exp: token.expiresAt,
    iat: token.issuedAt,
    sub: token.clientId,
    aud: token.audience,
    iss: issuer,
    jti: token.jti,
  };
}

export function introspectionEndpoint(deps: {
  readonly issuer: Issuer;
  readonly registry: Registry;
  readonly ownTokens: OwnTokens;
  readonly authentication: ClientAuthentication;
  readonly authenticateOperator: Authenticate;
  readonly logger: Logger;
}): (app: FastifyInstance) => Promise<void> {
  const { issuer, registry, ownTokens, authentication, authenticateOperator } = deps;

  const readerWithToken = async (request: FastifyRequest): Promise<Reader> => {
    const { authorization } = request.headers;
    const operator = await authenticateOperator(authorization);
    request.clientId = operator.clientId;
    authorize(operator, { scope: INTROSPECTION_SCOPE, concerns: 'clients' });
    return { mayRead: () => true, reach: { label: operator.limit } };
  };

  const readerWithCredentials = async (request: FastifyRequest): Promise<Reader> => {
    const { clientId } = await authentication.require({
      authorization: request.headers.authorization,
      parameters: readParameters(request),
      noteClient: (id) => {
        request.clientId = id;
      },
    });
    const rights = await registry.rights(clientId);
    if (rights === undefined) {
      throw new InvalidClientError('client authentication failed', { detail: 'revoked meanwhile' });
    }
    return { mayRead: readerOf(rights, issuer), reach: { label: rights.limitedToLabel } };
  };

  return async (app) => {
    acceptForm(app);
    app.setErrorHandler(
      createOAuthErrorHandler({ logger: deps.logger, event: 'introspect.refused' }),
    );
    app.post('/introspect', { bodyLimit: MAX_OAUTH_BODY_BYTES }, async (request, reply) => {
      const parameters = readParameters(request);
      const reader = /^Bearer /i.test(request.headers.authorization ?? '')
        ? await readerWithToken(request)
        : await readerWithCredentials(request);
      const text = parameters.get('token');
      if (text === undefined) throw new InvalidRequestError('token is missing');
      reply.header('cache-control', 'no-store');
      const token = await ownTokens.verify(text);
      if (token === undefined || !reader.mayRead(token.audience)) return INACTIVE;
      const client = await liveClient(registry, token, reader.reach);
      return client === undefined ? INACTIVE : describe(token, issuer);
    });
  };
}
