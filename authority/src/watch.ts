/**
 * `GET /healthz`, `/readyz` and `/metrics`: for whoever watches the program.
 *
 * `/healthz` answers everybody that the process is alive. The other two answer a program on this
 * machine, or a bearer of a management token with the scope `metrics:read` or `all`. A request that a
 * proxy passed on (`Forwarded`, `X-Forwarded-*`, `Via`) is not from this machine, although its
 * connection is; a proxy that adds none of these headers must not pass these two paths on.
 *
 * Units   none.
 * Errors  `InvalidTokenError`, `InsufficientScopeError`.
 * Source  DESIGN 5; RFC 7239 4, RFC 9110 7.6.3.
 *
 * @module
 */
import { isLoopbackHost, type Logger } from '@latchkey/shared';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Authenticate } from './api/authenticate.js';
import { authorize } from './api/operator.js';
import { METRICS_CONTENT_TYPE, type Metrics } from './metrics.js';
import { createOAuthErrorHandler } from './oauth/error-reply.js';
import type { SigningKeys } from './signing-keys.js';

/** Scope at the management API, beside `all`, that lets its holder watch from elsewhere. */
const WATCH_SCOPE = 'metrics:read';

const PROXY_HEADERS = ['forwarded', 'via', 'x-forwarded-for', 'x-forwarded-host', 'x-real-ip'];

function isFromThisMachine({ socket, headers }: FastifyRequest): boolean {
  const address = (socket.remoteAddress ?? '').replace(/^::ffff:/, '');
  return isLoopbackHost(address) && PROXY_HEADERS.every((name) => headers[name] === undefined);
}

/** Counts every answer of `app`. */
export function countRequests(app: FastifyInstance, metrics: Metrics): void {
  app.addHook('onResponse', async (request, reply) => {
    const { method, routeOptions } = request;
    const { statusCode: status } = reply;
    // What no route answered has one label, or strangers could make as many as they like.
    const route = routeOptions.url ?? 'none';
    metrics.requestAnswered({ method, route, status });
  });
}

export function watchEndpoints(deps: {
  readonly signingKeys: SigningKeys;
  readonly metrics: Metrics;
  readonly authenticateOperator: Authenticate;
  readonly logger: Logger;
}): (app: FastifyInstance) => Promise<void> {
  const { signingKeys, metrics, authenticateOperator, logger } = deps;

  const requireWatcher = async (request: FastifyRequest): Promise<void> => {
    const { authorization } = request.headers;
    if (authorization === undefined && isFromThisMachine(request)) return;
    const operator = await authenticateOperator(authorization);
    request.clientId = operator.clientId;
    authorize(operator, { scope: WATCH_SCOPE, concerns: 'clients' });
  };

  /** Ready: the registry can be read, and every key that signs can be opened. */
  const isReady = async (): Promise<boolean> => {
    try {
      await signingKeys.check();
      return true;
    } catch (error) {
      logger.error({ event: 'ready.failed', err: error }, 'not ready');
      return false;
    }
  };

  return async (app) => {
    app.setErrorHandler(createOAuthErrorHandler({ logger, event: 'watch.refused' }));
    app.get('/healthz', async () => ({ status: 'ok' }));
    app.get('/readyz', async (request, reply) => {
      await requireWatcher(request);
      reply.header('cache-control', 'no-store');
      if (await isReady()) return { status: 'ready' };
      reply.code(503);
      return { status: 'unavailable' };
    });
    app.get('/metrics', async (request, reply) => {
      await requireWatcher(request);
      reply.header('cache-control', 'no-store').type(METRICS_CONTENT_TYPE);
      return metrics.format();
    });
  };
}
