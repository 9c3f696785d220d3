/**
 * Listeners of `latchkey-broker`: MQTT over TCP and over WebSocket, with TLS or without.
 *
 * Units   bytes and milliseconds as the names say.
 * Errors  `ListenError`, naming the entry of the configuration that cannot listen.
 * Source  MQTT 3.1.1 6 ([MQTT-6.0.0-1] to [MQTT-6.0.0-4]), RFC 6455 4.2.
 *
 * @module
 */
import { once } from 'node:events';
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import {
  type AddressInfo,
  createServer as createTcpServer,
  type Socket,
  type Server as TcpServer,
} from 'node:net';
import type { Duplex } from 'node:stream';
import {
  createServer as createTlsServer,
  type SecureContextOptions,
  type TlsOptions,
  type Server as TlsServer,
} from 'node:tls';
import { createWebSocketStream, WebSocketServer } from 'ws';
import type { ListenConfig } from './config.js';
import { readTlsFiles, TlsFileError } from './tls-files.js';

/** Takes a new connection; `request` is that of the WebSocket handshake. */
export type Accept = (stream: Duplex, request?: IncomingMessage) => void;

export interface Listener {
  readonly type: ListenConfig['type'];
  readonly host: string;
  /** The port in use, also when the configuration says 0. */
  readonly port: number;
  /** Reads certificate and key anew, for connections from now on. Keeps the old ones on a failure. */
  reload(): Promise<void>;
  /** Stops accepting; the connections it has stay. */
  stop(): void;
  /** Stops accepting and resolves when every connection is gone; ends those that did not come far. */
  close(): Promise<void>;
}

/** A listener that cannot listen. The message names the entry of the configuration. */
export class ListenError extends Error {
  constructor(message: string, options: { readonly cause: unknown }) {
    super(message, options);
    this.name = 'ListenError';
  }
}

interface ListenerOptions {
  readonly config: ListenConfig;
  readonly accept: Accept;
  /** Whether one more connection of the address is taken on; asked once, before any handshake. */
  readonly takeConnection: (address: string | undefined) => boolean;
  readonly maxConnections: number;
  /** Largest WebSocket message, in bytes. */
  readonly maxMessageBytes: number;
  readonly handshakeTimeoutMs: number;
}

const SUBPROTOCOL = 'mqtt';

function refuseUpgrade(socket: Duplex, status: string): void {
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}

function createWebSocketListener(
  options: ListenerOptions,
  secure: SecureContextOptions | undefined,
): Server {
  const { accept, maxMessageBytes, handshakeTimeoutMs } = options;
  const handle = (_request: IncomingMessage, response: ServerResponse): void => {
    response.writeHead(426, { connection: 'close', upgrade: 'websocket' }).end();
  };
  const http =
    secure === undefined
      ? createHttpServer(handle)
      : createHttpsServer({ ...secure, handshakeTimeout: handshakeTimeoutMs }, handle);
  http.headersTimeout = handshakeTimeoutMs;
  http.requestTimeout = handshakeTimeoutMs;
  const webSockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: maxMessageBytes,
    handleProtocols: () => SUBPROTOCOL,
  });
  http.on('upgrade', (request, socket, head) => {
    socket.on('error', () => undefined);
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',');
    if (!offered.some((name) => name.trim() === SUBPROTOCOL)) {
      refuseUpgrade(socket, '400 Bad Request'); // [MQTT-6.0.0-3]
      return;
    }
    webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      const stream = createWebSocketStream(webSocket);
      webSocket.prependListener('message', (_data, isBinary) => {
        if (!isBinary) webSocket.terminate(); // [MQTT-6.0.0-1]
      });
      accept(stream, request);
    });
  });
  return http;
}

function describe(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'EADDRINUSE') return 'the port is taken';
  if (code === 'EACCES') return 'the port is not allowed for this user';
  return code ?? (error as Error).message;
}

/** Listens and answers with the port in use; `entry` names the configuration in an error. */
export async function listenOn(
  server: TcpServer,
  { host, port }: { readonly host: string; readonly port: number },
  entry: string,
): Promise<number> {
  try {
    server.listen(port, host.replace(/^\[|\]$/g, ''));
    await once(server, 'listening');
  } catch (cause) {
    throw new ListenError(`${entry}: ${describe(cause)}`, { cause });
  }
  return (server.address() as AddressInfo).port;
}

async function tlsOf(
  { tls }: ListenConfig,
  entry: string,
): Promise<SecureContextOptions | undefined> {
  try {
    return tls && (await readTlsFiles(tls));
  } catch (cause) {
    if (!(cause instanceof TlsFileError)) throw cause;
    throw new ListenError(`${entry}: ${cause.message}`, { cause });
  }
}

function createServer(
  options: ListenerOptions,
  secure: SecureContextOptions | undefined,
): TcpServer {
  const { config, accept, takeConnection, handshakeTimeoutMs } = options;
  if (config.type.endsWith('websocket')) return createWebSocketListener(options, secure);
  if (secure === undefined) {
    return createTcpServer({ noDelay: true }, (socket) => {
      if (takeConnection(socket.remoteAddress)) accept(socket);
      else socket.destroy();
    });
  }
  const tls: TlsOptions = { ...secure, noDelay: true, handshakeTimeout: handshakeTimeoutMs };
  return createTlsServer(tls, (socket) => accept(socket));
}

/** Starts to listen; `index` is the place of the entry in the configuration. */
export async function openListener(options: ListenerOptions, index: number): Promise<Listener> {
  const { config, maxConnections, takeConnection } = options;
  const { type, host } = config;
  const entry = `listen.${index} (${type} ${host}:${config.port})`;
  const secure = await tlsOf(config, entry);
  const server = createServer(options, secure);
  if (type !== 'tcp') {
    server.on('connection', (socket) => {
      if (!takeConnection(socket.remoteAddress)) socket.destroy();
    });
  }
  // A connection in its TLS handshake is known to nobody else who could end it.
  const sockets = new Set<Socket>();
  if (secure !== undefined) {
    server.on('connection', (socket) => {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
    });
  }
  server.maxConnections = maxConnections;
  const port = await listenOn(server, config, entry);
  const closed = once(server, 'close');
  const stop = (): void => {
    if (server.listening) server.close();
  };
  return {
    type,
    host,
    port,
    reload: async () => {
      const next = await tlsOf(config, entry);
      if (next !== undefined) (server as TlsServer).setSecureContext(next);
    },
    stop,
    close: async () => {
      stop();
      for (const socket of sockets) socket.destroy();
      if ('closeAllConnections' in server) (server as Server).closeAllConnections();
      await closed;
    },
  };
}
