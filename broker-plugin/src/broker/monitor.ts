/**
 * `GET /metrics`, `/healthz` and `/readyz` of `latchkey-broker`, for a program on this machine.
 *
 * Units   milliseconds as the names say.
 * Errors  `ListenError` when it cannot listen.
 * Source  DESIGN 6; RFC 9110 15.5.6 (405), 9.3.2 (HEAD).
 *
 * @module
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { METRICS_CONTENT_TYPE } from '../metrics.js';
import type { MonitorConfig } from './config.js';
import { listenOn } from './listeners.js';

export interface Monitor {
  readonly host: string;
  /** The port in use, also when the configuration says 0. */
  readonly port: number;
  /** Stops answering and ends its connections. */
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

const MAX_CONNECTIONS = 100;
const REQUEST_TIMEOUT_MS = 5_000;

function status(code: number, text: string): Answer {
  const body = `${JSON.stringify({ status: text })}\n`;
  return { status: code, type: 'application/json', body };
}

export interface Monitored {
  /** In the text format of Prometheus. */
  metrics(): string;
  /** Whether clients can be let in. */
  isReady(): boolean;
}

function answer(broker: Monitored, path: string): Answer {
  switch (path) {
    case '/metrics':
      return { status: 200, type: METRICS_CONTENT_TYPE, body: broker.metrics() };
    case '/healthz':
      return status(200, 'ok');
    case '/readyz':
      return broker.isReady() ? status(200, 'ready') : status(503, 'unavailable');
    default:
      return status(404, 'not found');
  }
}

export async function openMonitor(config: MonitorConfig, broker: Monitored): Promise<Monitor> {
  const handle = ({ method, url }: IncomingMessage, response: ServerResponse): void => {
    const isRead = method === 'GET' || method === 'HEAD';
    const {
      status: code,
      type,
      body,
    } = isRead
      ? answer(broker, (url ?? '').replace(/[?].*/s, ''))
      : status(405, 'method not allowed');
    response.writeHead(code, {
      'content-type': type,
      'content-length': Buffer.byteLength(body),
      'cache-control': 'no-store',
      ...(isRead ? {} : { allow: 'GET, HEAD' }),
    });
    response.end(body); // node sends no body for HEAD
  };
  const server = createServer(
    { headersTimeout: REQUEST_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS },
    handle,
  );
  server.maxConnections = MAX_CONNECTIONS;
  const { host } = config;
  const port = await listenOn(server, config, `http (${host}:${config.port})`);
  return {
    host,
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
