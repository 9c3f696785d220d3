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
import { acceptJson } from '../http/json-body.js';
import { type AuthenticateDeps, createAuthenticate } from './authenticate.js';
import { devicesNoun } from './devices.js';
import { enrollmentsNoun } from './enrollments.js';
import { createApiErrorHandler } from './error-reply.js';
import { registerNoun } from './noun.js';
import { permissionsNoun } from './permissions.js';
import { resourcesNoun } from './resources.js';
import { rolesNoun } from './roles.js';

export function managementApi(
  deps: AuthenticateDeps & { readonly logger: Logger },
): (app: FastifyInstance) => Promise<void> {
  const authenticate = createAuthenticate(deps);
  return async (app) => {
    acceptJson(app);
    app.setErrorHandler(createApiErrorHandler(deps.logger));
    // Before the body is read: a stranger's body is not worth parsing.
    app.addHook('onRequest', async (request, reply) => {
      reply.header('cache-control', 'no-store');
      request.clientId = await authenticate(request.headers.authorization);
    });
    registerNoun(app, resourcesNoun(deps));
    registerNoun(app, permissionsNoun(deps));
    registerNoun(app, rolesNoun(deps));
    registerNoun(app, devicesNoun(deps));
    registerNoun(app, enrollmentsNoun(deps));
  };
}
