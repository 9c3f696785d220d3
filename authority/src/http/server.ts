/**
 * The HTTP server's ground rules: bounds, timeouts, strict bodies, headers of every answer.
 *
 * Units   timeouts in milliseconds, sizes in bytes.
 * Errors  problem details (RFC 9457) for whatever no endpoint answers.
 * Source  RFC 9110; https://fastify.dev/docs/latest/Reference/Server
 *
 * @module
 */
import fastify, { type FastifyInstance } from 'fastify';
import { sendProblem } from './problem.js';
import type { TlsCredentials } from './tls.js';

/** Largest body of the management API; the OAuth endpoints allow less. */
export const MAX_BODY_BYTES = 65_536;
/** Largest body of the OAuth endpoints (STANDARDS 2.3 step 1). */
export const MAX_OAUTH_BODY_BYTES = 16_384;

/** A resource identifier of 255 characters, each percent-encoded. */
const MAX_PATH_PARAMETER_LENGTH = 765;
const REQUEST_TIMEOUT_MS = 15_000;
/** Of silence; a reader of the feed may be left waiting for 30 s. */
const CONNECTION_TIMEOUT_MS = 45_000;
const KEEP_ALIVE_TIMEOUT_MS = 65_000;

const BAD_REQUEST =
  'HTTP/1.1 400 Bad Request\r\nConnection: close\r\nX-Content-Type-Options: nosniff\r\nContent-Length: 0\r\n\r\n';

export interface HttpServerOptions {
  /** Absent: plain HTTP. */
  readonly tls?: TlsCredentials | undefined;
  /** Addresses and networks whose `X-Forwarded-For` is believed; default none. */
  readonly trustedProxies?: readonly string[];
}

export function createHttpServer(options: HttpServerOptions = {}): FastifyInstance {
  const { tls = null, trustedProxies = [] } = options;
  // The types of fastify tell plain and TLS servers apart, which nothing of ours does.
  const app = fastify({
    https: tls as null,
    trustProxy: [...trustedProxies],
    logger: false,
    bodyLimit: MAX_BODY_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionTimeout: CONNECTION_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: MAX_PATH_PARAMETER_LENGTH },
    clientErrorHandler: (_error, socket) => {
      if (socket.writable) socket.end(BAD_REQUEST);
      else socket.destroy();
    },
    frameworkErrors: (_error, _request, reply) => {
      reply.header('x-content-type-options', 'nosniff');
      sendProblem(reply, 400, 'the URL is not valid');
    },
  });
  app.addHook('onRequest', async (_request, reply) => {
    reply.header('x-content-type-options', 'nosniff');
  });
  // Each endpoint accepts the one content type that it reads, and no other.
  app.removeAllContentTypeParsers();
  app.setNotFoundHandler((_request, reply) => {
    sendProblem(reply, 404, 'there is nothing at this URL for this method');
  });
  return app;
}
