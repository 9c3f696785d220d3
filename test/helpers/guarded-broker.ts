/**
 * A real Aedes with our plugin, a real issuer, and listeners over TCP, TLS and WebSocket on free ports.
 *
 * @module
 */
import { once } from 'node:events';
import { createServer as createHttpServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  type ConnectionOptions,
  createServer as createTlsServer,
  connect as tlsConnect,
} from 'node:tls';
import { createLatchkey, type Latchkey, type LatchkeyOptions } from '@latchkey/broker-plugin';
import { Aedes, type AedesOptions, type Client } from 'aedes';
import type { IConnackPacket, IConnectPacket } from 'mqtt-packet';
import { onTestFinished } from 'vitest';
import { createWebSocketStream, WebSocket, WebSocketServer } from 'ws';
import { type CapturedLog, createCapturedLog } from './captured-log.ts';
import { selfSigned } from './certificate.ts';
import { createDrivenClock, type DrivenClock } from './driven-clock.ts';
import { BROKER, type IssuerServer, startIssuer, type TokenRequest } from './issuer-server.ts';
import { connectPacket, overStream, overTcp, type WireClient } from './mqtt-wire.ts';

export type Transport = 'tcp' | 'tls' | 'websocket';
export const TRANSPORTS: readonly Transport[] = ['tcp', 'tls', 'websocket'];

export interface GuardedBroker {
  readonly aedes: Aedes;
  readonly latchkey: Latchkey;
  readonly clock: DrivenClock;
  readonly log: CapturedLog;
  readonly issuer: IssuerServer;
  readonly port: number;
  /** Streams given to the broker, in order. */
  readonly streams: readonly Duplex[];
  /** A connection that has sent nothing yet; `localAddress`: an address of 127.0.0.0/8. */
  wire(transport?: Transport, localAddress?: string): Promise<WireClient>;
  /** Connects with a token and waits for the answer. */
  connect(
    token?: TokenRequest | string,
    packet?: Partial<IConnectPacket>,
  ): Promise<WireClient & { readonly connack: IConnackPacket }>;
  /** A client of the host itself: hears every publication that the broker lets through. */
  heard(): Promise<readonly string[]>;
}

export interface Setup {
  readonly options?: Partial<LatchkeyOptions>;
  readonly aedes?: AedesOptions;
  /** Runs before `install`. */
  readonly before?: (aedes: Aedes) => void;
  readonly guard?: (stream: Duplex, latchkey: Latchkey, request?: IncomingMessage) => Duplex;
}

async function listening(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

export async function startGuardedBroker(setup: Setup = {}): Promise<GuardedBroker> {
  const clock = createDrivenClock();
  const log = createCapturedLog();
  const issuer = await startIssuer(clock);
  const aedes = await Aedes.createBroker(setup.aedes);
  setup.before?.(aedes);
  const latchkey = createLatchkey({
    issuer: issuer.issuer,
    audience: BROKER,
    clock,
    logger: log,
    ...setup.options,
  });
  latchkey.install(aedes);
  const streams: Duplex[] = [];
  const guard = setup.guard ?? ((stream, _, request) => latchkey.guard(stream, request));
  const accept = (stream: Duplex, request?: IncomingMessage): void => {
    streams.push(stream);
    stream.on('error', () => undefined);
    aedes.handle(guard(stream, latchkey, request), request);
  };
  onTestFinished(async () => {
    await latchkey.close();
    await new Promise<void>((resolve) => aedes.close(resolve));
    for (const stream of streams) stream.destroy();
  });

  const port = await listening(createServer({ noDelay: true }, (socket) => accept(socket)));
  const wire = async (
    transport: Transport = 'tcp',
    localAddress = '127.0.0.1',
  ): Promise<WireClient> => {
    if (transport === 'tcp') return overTcp(port, localAddress);
    if (transport === 'tls') {
      const tls = createTlsServer(selfSigned(), (socket) => accept(socket));
      const options: ConnectionOptions & { readonly localAddress: string } = {
        port: await listening(tls),
        host: '127.0.0.1',
        rejectUnauthorized: false,
        localAddress,
      };
      const socket = tlsConnect(options);
      await once(socket, 'secureConnect');
      return overStream(socket);
    }
    const http = createHttpServer();
    const webSockets = new WebSocketServer({ server: http });
    webSockets.on('connection', (webSocket, request) => {
      accept(createWebSocketStream(webSocket), request);
    });
    const webSocket = new WebSocket(`ws://127.0.0.1:${await listening(http)}`, ['mqtt'], {
      localAddress,
    });
    await once(webSocket, 'open');
    return overStream(createWebSocketStream(webSocket));
  };

  return {
    aedes,
    latchkey,
    clock,
    log,
    issuer,
    port,
    streams,
    wire,
    connect: async (token = {}, packet = {}) => {
      const client = await wire();
      const id = typeof token === 'string' ? 't-42' : (token.clientId ?? 't-42');
      const text = typeof token === 'string' ? token : await issuer.token(token);
      client.send(connectPacket(text, { clientId: id, username: id, ...packet }));
      return Object.assign(client, { connack: await client.next('connack') });
    },
    heard: async () => {
      const topics: string[] = [];
      await new Promise<void>((resolve) => {
        const hear = (packet: { topic: string }, done: () => void) => {
          topics.push(packet.topic);
          done();
        };
        aedes.subscribe('#', hear, () => resolve());
      });
      return topics;
    },
  };
}

/** Resolves when the broker emits the event. */
export function emitted(aedes: Aedes, event: 'clientDisconnect' | 'publish'): Promise<Client> {
  return new Promise((resolve) => {
    (aedes as unknown as { once(name: string, listener: (client: Client) => void): void }).once(
      event,
      resolve,
    );
  });
}
