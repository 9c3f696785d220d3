/**
 * Wires the authority's parts; the only place that does. Building and listening are separate, so that
 * tests can ask it without a port.
 *
 * Units   milliseconds.
 * Errors  `ListenError` when the address cannot be listened on.
 * Source  DESIGN 5.
 *
 * @module
 */
import type { AddressInfo } from 'node:net';
import type { Clock, Issuer, Logger } from '@latchkey/shared';
import type { FastifyInstance } from 'fastify';
import { createAuthenticate } from './api/authenticate.js';
import { managementApi } from './api/management-api.js';
import { formatListenAddress, type ListenAddress } from './config.js';
import './http/request.js';
import { createHttpServer } from './http/server.js';
import { createMetrics } from './metrics.js';
import { createClientAuthentication } from './oauth/client-authentication.js';
import { clientJwksEndpoint } from './oauth/client-jwks.js';
import { enrollEndpoint } from './oauth/enroll.js';
import { createClientCredentialsGrant } from './oauth/grants/client-credentials.js';
import { createJwtBearerGrant } from './oauth/grants/jwt-bearer.js';
import { introspectionEndpoint } from './oauth/introspect.js';
import { createTokenIssuer } from './oauth/issue-token.js';
import { jwksEndpoint, metadataEndpoint } from './oauth/metadata.js';
import { createOwnTokens } from './oauth/own-tokens.js';
import { revocationEndpoint } from './oauth/revoke.js';
import { tokenEndpoint } from './oauth/token.js';
import type { Registry } from './registry/registry.js';
import type { SigningKeys } from './signing-keys.js';
import { countRequests, watchEndpoints } from './watch.js';

export interface AuthorityConfig {
  readonly issuer: Issuer;
}

export interface AuthorityDeps {
  readonly registry: Registry;
  readonly signingKeys: SigningKeys;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface Authority {
  readonly issuer: Issuer;
  /** For `inject()` in tests and for putting the authority into a server of one's own. */
  readonly app: FastifyInstance;
  /** Starts listening; returns the URL, with the port that the system chose for port 0. */
  listen(address: ListenAddress): Promise<string>;
  /** Answers what is under way, for at most 5 s, and closes the registry. */
  close(): Promise<void>;
}

/** The address is taken or not ours. */
export class ListenError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ListenError';
  }
}

const CLOSE_WITHIN_MS = 5000;

export async function createAuthority(
  { issuer }: AuthorityConfig,
  { registry, signingKeys, clock, logger }: AuthorityDeps,
): Promise<Authority> {
  const app = createHttpServer();
  app.decorateRequest('clientId', undefined);
  const metrics = createMetrics();
  countRequests(app, metrics);
  const authenticateOperator = createAuthenticate({ issuer, registry, signingKeys, clock });
  await app.register(watchEndpoints({ signingKeys, metrics, authenticateOperator, logger }));
  const authentication = createClientAuthentication({ issuer, registry, clock });
  const issueToken = createTokenIssuer({ issuer, registry, signingKeys, clock, logger });
  const grants = [
    createJwtBearerGrant({ issuer, registry, clock, issueToken }),
    createClientCredentialsGrant(issueToken),
  ];
  const grantTypes = grants.map(({ grantType }) => grantType);
  await app.register(metadataEndpoint(issuer, grantTypes));
  const ownTokens = createOwnTokens({ issuer, signingKeys, clock });
  const tokenUse = { registry, ownTokens, authentication, logger };
  const { pathname } = new URL(issuer);
  await app.register(
    async (scope) => {
      await scope.register(jwksEndpoint(signingKeys));
      await scope.register(clientJwksEndpoint({ registry, clock }));
      await scope.register(tokenEndpoint({ grants, authentication, metrics, logger }));
      await scope.register(introspectionEndpoint({ issuer, authenticateOperator, ...tokenUse }));
      await scope.register(revocationEndpoint(tokenUse));
      await scope.register(enrollEndpoint({ issuer, registry, clock, logger }));
      await scope.register(managementApi({ issuer, registry, signingKeys, clock, logger }), {
        prefix: '/api/v1',
      });
    },
    { prefix: pathname === '/' ? '' : pathname },
  );
  await app.ready();

  const listen = async ({ host, port }: ListenAddress): Promise<string> => {
    try {
      await app.listen({ host, port });
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      const where = formatListenAddress({ host, port });
      if (code === 'EADDRINUSE') {
        throw new ListenError(
          `${where} is in use by another program: choose another with --listen`,
        );
      }
      if (code === 'EACCES' || code === 'EADDRNOTAVAIL') {
        throw new ListenError(`cannot listen on ${where} (${code}): choose another with --listen`);
      }
      throw error;
    }
    const address = app.server.address() as AddressInfo;
    return `http://${formatListenAddress({ host, port: address.port })}`;
  };

  const close = async (): Promise<void> => {
    const done = new AbortController();
    const deadline = clock.sleep(CLOSE_WITHIN_MS, done.signal).then(
      () => app.server.closeAllConnections(),
      () => undefined,
    );
    await app.close();
    done.abort();
    await deadline;
    await registry.close();
  };

  return { issuer, app, listen, close };
}
