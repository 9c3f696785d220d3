/**
 * The management API, `/api/v1`: what the operator's command line and other tools talk to.
 *
 * Units   sizes in bytes.
 * Errors  problem details; see `api/error-reply.ts`.
 * Source  DESIGN 5.
 *
 * @module
 */
import type { Logger } from '@latchkey/shared';
import type { FastifyInstance } from 'fastify';
import type { Audit } from '../audit/audit.js';
import { auditChanges } from '../audit/request-audit.js';
import { acceptJson } from '../http/json-body.js';
import type { SigningKeys } from '../signing-keys.js';
import { auditRoutes } from './audit.js';
import { createDescribeAttempt } from './audit-attempt.js';
import type { Authenticate, AuthenticateDeps } from './authenticate.js';
import { clientImportRoutes } from './client-import.js';
import { clientKeyRoutes } from './client-keys.js';
import { clientSecretRoutes } from './client-secrets.js';
import { clientStatusRoutes } from './client-status.js';
import { clientRoutes } from './clients.js';
import { enrollmentRoutes } from './enrollments.js';
import { createApiErrorHandler, problemOf } from './error-reply.js';
import { explainRoutes } from './explain.js';
import { fleetRoutes } from './fleet.js';
import { createKeyChecks, type KeyChecks } from './key-checks.js';
import { createManagementRights } from './management-rights.js';
import { openApiDocument } from './openapi.js';
import { permissionRoutes } from './permissions.js';
import { resourceRoutes } from './resources.js';
import { roleRoutes } from './roles.js';
import { type Route, registerRoutes } from './route.js';
import { signingKeyRoutes } from './signing-keys.js';

export type ManagementDeps = AuthenticateDeps & {
  readonly audit: Audit;
  readonly authenticateOperator: Authenticate;
  readonly signingKeys: SigningKeys;
  readonly logger: Logger;
};

/** Every route, for serving, for the OpenAPI document and for tests that walk over them. */
export function managementRoutes(
  deps: ManagementDeps & { readonly keyChecks: KeyChecks },
): readonly Route[] {
  const rights = createManagementRights(deps);
  return [
    ...resourceRoutes({ ...deps, rights }),
    ...permissionRoutes({ ...deps, rights }),
    ...roleRoutes({ ...deps, rights }),
    ...clientRoutes(deps),
    ...clientImportRoutes(deps),
    ...clientStatusRoutes(deps),
    ...clientKeyRoutes(deps),
    ...clientSecretRoutes(deps),
    ...enrollmentRoutes(deps),
    ...explainRoutes(deps),
    ...fleetRoutes(deps),
    ...signingKeyRoutes(deps),
    ...auditRoutes(deps),
  ];
}

export function managementApi(deps: ManagementDeps): (app: FastifyInstance) => Promise<void> {
  const { authenticateOperator: authenticate } = deps;
  const keyChecks = createKeyChecks(deps);
  const routes = managementRoutes({ ...deps, keyChecks });
  return async (app) => {
    app.addHook('onClose', () => keyChecks.stop());
    acceptJson(app);
    app.setErrorHandler(createApiErrorHandler(deps.logger));
    app.decorateRequest('operator', undefined);
    const describe = createDescribeAttempt(app.prefix);
    auditChanges(app, {
      audit: deps.audit,
      log: deps.registry,
      logger: deps.logger,
      describe,
      sortError: problemOf,
    });
    app.addHook('onRequest', async (_request, reply) => {
      reply.header('cache-control', 'no-store');
    });
    const document = openApiDocument(deps.issuer, routes);
    app.get('/openapi.json', async () => document);
    registerRoutes(app, routes, { authenticate, logger: deps.logger });
  };
}
