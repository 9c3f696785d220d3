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
import type { Server as TlsServer } from 'node:tls';
import type { Clock, Issuer, Logger } from '@latchkey/shared';
import type { FastifyInstance } from 'fastify';
import { type Authenticate, createAuthenticate } from './api/authenticate.js';
import { managementApi } from './api/management-api.js';
import { createAudit, ownEvent } from './audit/audit.js';
import { runAuditRetention } from './audit/retention.js';
import { formatListenAddress, type ListenAddress } from './config.js';
import { feedEndpoint } from './feed/feed-endpoint.js';
import './http/request.js';
import {
  createRequestLimits,
  DEFAULT_LIMITS,
  type Limits,
  type RequestLimits,
} from './http/request-limits.js';
import { createHttpServer } from './http/server.js';
import type { TlsCredentials } from './http/tls.js';
import { createMetrics } from './metrics.js';
import {
  type ClientAuthentication,
  createClientAuthentication,
} from './oauth/client-authentication.js';
import { clientJwksEndpoint } from './oauth/client-jwks.js';
import { enrollEndpoint } from './oauth/enroll.js';
import { createClientCredentialsGrant } from './oauth/grants/client-credentials.js';
import { createJwtBearerGrant } from './oauth/grants/jwt-bearer.js';
import { introspectionEndpoint } from './oauth/introspect.js';
import { createTokenIssuer } from './oauth/issue-token.js';
import { keyRotationEndpoint } from './oauth/key-rotation.js';
import { jwksEndpoint, metadataEndpoint } from './oauth/metadata.js';
import { createOwnTokens } from './oauth/own-tokens.js';
import { revocationEndpoint } from './oauth/revoke.js';
import { tokenEndpoint } from './oauth/token.js';
import type { Registry } from './registry/registry.js';
import { runRotationSchedule } from './signing/rotation-schedule.js';
import type { SigningKeys } from './signing-keys.js';
import { countRequests, watchEndpoints } from './watch.js';

export interface AuthorityConfig {
  readonly issuer: Issuer;
  /** Default: as in `authority.toml` without a `[limits]`. */
  readonly limits?: Limits;
  /** Absent: plain HTTP, for loopback and behind a proxy that speaks TLS. */
  readonly tls?: TlsCredentials | undefined;
  readonly trustedProxies?: readonly string[];
  /** Age at which audit events may go; default 0: none goes. */
  readonly auditRetentionDays?: number;
  /** Age at which signing keys are rotated; default 0: only by command. */
  readonly signingKeyRotationDays?: number;
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
  /** Serves new connections with another certificate; those that are open go on. Only with `tls`. */
  setTls(tls: TlsCredentials): void;
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

/** Counts those who authenticate against their own limit. Tokens are counted where they are issued. */
function countedAuthentication(
  authentication: ClientAuthentication,
  limits: RequestLimits,
): ClientAuthentication {
  return {
    ...authentication,
    require: async (request) => {
      const client = await authentication.require(request);
      limits.limitClient(client.clientId);
      return client;
    },
  };
}

export async function createAuthority(
  config: AuthorityConfig,
  { registry, signingKeys, clock, logger }: AuthorityDeps,
): Promise<Authority> {
  const { issuer } = config;
  const app = createHttpServer(config);
  app.decorateRequest('clientId', undefined);
  app.decorateRequest('auditFacts', undefined);
  const metrics = createMetrics();
  const audit = createAudit({ log: registry });
  const limits = createRequestLimits(config.limits ?? DEFAULT_LIMITS, { clock, logger });
  countRequests(app, metrics);
  const identify = createAuthenticate({ issuer, registry, signingKeys, clock });
  const authenticateOperator: Authenticate = async (authorization) => {
    const operator = await identify(authorization);
    limits.limitClient(operator.clientId);
    return operator;
  };
  await app.register(watchEndpoints({ signingKeys, metrics, authenticateOperator, logger }));
  const authentication = createClientAuthentication({ issuer, registry, clock });
  const counted = countedAuthentication(authentication, limits);
  const issueToken = createTokenIssuer({
    ...{ issuer, registry, signingKeys, audit, limits, clock, logger },
  });
  const grants = [
    createJwtBearerGrant({ issuer, registry, clock, issueToken }),
    createClientCredentialsGrant(issueToken),
  ];
  const grantTypes = grants.map(({ grantType }) => grantType);
  await app.register(metadataEndpoint(issuer, grantTypes));
  const ownTokens = createOwnTokens({ issuer, signingKeys, clock });
  const tokenUse = { registry, ownTokens, authentication: counted, logger };
  const { pathname } = new URL(issuer);
  await app.register(
    async (scope) => {
      await scope.register(jwksEndpoint(signingKeys));
      limits.limitAddresses(scope);
      await scope.register(clientJwksEndpoint({ registry, clock }));
      await scope.register(tokenEndpoint({ grants, authentication, metrics, audit, logger }));
      await scope.register(introspectionEndpoint({ issuer, authenticateOperator, ...tokenUse }));
      await scope.register(revocationEndpoint({ audit, ...tokenUse }));
      await scope.register(enrollEndpoint({ issuer, registry, clock, audit, logger }));
      await scope.register(
        keyRotationEndpoint({
          ...{ issuer, registry, authentication: counted, limits, clock, audit, logger },
        }),
      );
      await scope.register(
        feedEndpoint({
          ...{ issuer, registry, signingKeys, authenticateOperator, clock, logger },
          recheckOperator: identify,
        }),
      );
      await scope.register(
        managementApi({
          ...{ issuer, registry, signingKeys, authenticateOperator, audit, clock, logger },
        }),
        {
          prefix: '/api/v1',
        },
      );
    },
    { prefix: pathname === '/' ? '' : pathname },
  );
  await app.ready();

  let hasStarted = false;
  const closing = new AbortController();
  const jobs: Promise<void>[] = [];
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
    const url = `${config.tls ? 'https' : 'http'}://${formatListenAddress({ host, port: address.port })}`;
    await audit.record(ownEvent('start', url));
    hasStarted = true;
    const days = config.auditRetentionDays ?? 0;
    const { signingKeyRotationDays = 0 } = config;
    jobs.push(
      runAuditRetention({ log: registry, days, clock, logger }, closing.signal),
      runRotationSchedule(
        { log: registry, signingKeys, days: signingKeyRotationDays, clock, logger },
        closing.signal,
      ),
    );
    return url;
  };

  const close = async (): Promise<void> => {
    closing.abort();
    await Promise.all(jobs);
    const done = new AbortController();
    const deadline = clock.sleep(CLOSE_WITHIN_MS, done.signal).then(
      () => app.server.closeAllConnections(),
      () => undefined,
    );
    await app.close();
    done.abort();
    await deadline;
    if (hasStarted) {
      await audit.record(ownEvent('stop')).catch((err: unknown) => {
        logger.error({ event: 'audit.failed', err }, 'the end could not be recorded');
      });
    }
    await registry.close();
  };

  const setTls = (tls: TlsCredentials): void => {
    (app.server as unknown as TlsServer).setSecureContext(tls);
  };

  return { issuer, app, listen, setTls, close };
}
