/**
 * A real Aedes on a free port without our plugin, whose answers a test chooses; it keeps every CONNECT
 * and PUBLISH it saw.
 *
 * @module
 */
import { once } from 'node:events';
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { Aedes, type Client, type ConnectPacket } from 'aedes';
import { onTestFinished } from 'vitest';
import { createWebSocketStream, WebSocketServer } from 'ws';

export interface SeenConnect {
  readonly clientId: string;
  readonly username: string | undefined;
  readonly password: string;
  readonly clean: boolean;
  readonly will: string | undefined;
}

export interface SeenPublish {
  readonly clientId: string;
  readonly topic: string;
  readonly payload: string;
  readonly bytes: Buffer;
  readonly qos: number;
  readonly retain: boolean;
}

export interface AedesBroker {
  readonly port: number;
  readonly url: string;
  readonly connects: readonly SeenConnect[];
  /** Every PUBLISH that came in, refused ones too. */
  readonly publishes: readonly SeenPublish[];
  readonly subscribes: readonly string[];
  /** CONNACK return code by the number of CONNECTs so far (from 1). Default 0. */
  returnCode: (connect: SeenConnect, count: number) => number;
  /** Whether a topic may be published; default yes. `undefined`: it gets no answer at all. */
  canPublish: (topic: string) => boolean | undefined;
  canSubscribe: (filter: string) => boolean | undefined;
  /** Publishes as the broker itself. */
  send(topic: string, payload: string, options?: { qos?: 0 | 1; retain?: boolean }): Promise<void>;
  /** Ends all connections. */
  kick(): void;
  stop(): Promise<void>;
  start(): Promise<void>;
  /** Resolves at the next PUBLISH on the topic, or when there was one. */
  published(topic: string, count?: number): Promise<SeenPublish>;
  connected(count: number): Promise<void>;
  /** Resolves when a client is subscribed to this filter, from now on. */
  subscribed(filter: string): Promise<void>;
  /** Resolves when a client gives up this filter. */
  unsubscribed(filter: string): Promise<void>;
}

export async function startAedesBroker(
  options: {
    readonly isWebSocket?: boolean;
    /** With TLS. */
    readonly certificate?: { readonly key: string; readonly cert: string };
  } = {},
): Promise<AedesBroker> {
  const connects: SeenConnect[] = [];
  const publishes: SeenPublish[] = [];
  const subscribes: string[] = [];
  const watchers = new Set<() => void>();
  const sockets = new Set<Socket>();
  const notify = (): void => {
    for (const watch of watchers) watch();
  };
  const until = (isTrue: () => boolean): Promise<void> =>
    new Promise((resolve) => {
      const watch = () => {
        if (!isTrue()) return;
        watchers.delete(watch);
        resolve();
      };
      watchers.add(watch);
      watch();
    });

  const aedes = await Aedes.createBroker();
  const packets = new WeakMap<Client, ConnectPacket>();
  aedes.preConnect = (client, packet, callback) => {
    packets.set(client, packet);
    callback(null, true);
  };
  aedes.authenticate = (client, username, password, callback) => {
    const seen = {
      clientId: client.id,
      username,
      password: password?.toString() ?? '',
      clean: packets.get(client)?.clean ?? false,
      will: packets.get(client)?.will?.topic,
    };
    connects.push(seen);
    const code = self.returnCode(seen, connects.length);
    if (code === 0) callback(null, true);
    else callback(Object.assign(new Error('refused'), { returnCode: code }), false);
    notify();
  };
  aedes.authorizePublish = (client, packet, callback) => {
    publishes.push({
      clientId: client?.id ?? '',
      topic: packet.topic,
      payload: packet.payload.toString(),
      bytes: Buffer.from(packet.payload),
      qos: packet.qos,
      retain: packet.retain,
    });
    const isAllowed = self.canPublish(packet.topic);
    if (isAllowed !== undefined) callback(isAllowed ? null : new Error('refused'));
    notify();
  };
  aedes.authorizeSubscribe = (_client, subscription, callback) => {
    subscribes.push(subscription.topic);
    const isAllowed = self.canSubscribe(subscription.topic);
    if (isAllowed !== undefined) callback(null, isAllowed ? subscription : null);
    notify();
  };
  aedes.on('clientError', () => undefined);
  aedes.on('connectionError', () => undefined);

  const createListener = (): Server => {
    const { certificate, isWebSocket } = options;
    const listener: Server = isWebSocket
      ? certificate
        ? createHttpsServer(certificate)
        : createHttpServer()
      : certificate
        ? createTlsServer(certificate)
        : createServer();
    listener.on(certificate ? 'secureConnection' : 'connection', (socket: Socket) => {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
      if (!isWebSocket) aedes.handle(socket);
    });
    if (options.isWebSocket) {
      new WebSocketServer({ server: listener as HttpServer }).on('connection', (socket) => {
        aedes.handle(createWebSocketStream(socket));
      });
    }
    return listener;
  };
  let server = createListener();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;

  const self: AedesBroker = {
    port,
    url: options.certificate
      ? `${options.isWebSocket ? 'wss' : 'mqtts'}://localhost:${port}`
      : options.isWebSocket
        ? `ws://127.0.0.1:${port}/mqtt`
        : `mqtt://127.0.0.1:${port}`,
    connects,
    publishes,
    subscribes,
    returnCode: () => 0,
    canPublish: () => true,
    canSubscribe: () => true,
    send: (topic, payload, { qos = 1, retain = false } = {}) =>
      new Promise((resolve, reject) => {
        const packet = { cmd: 'publish', topic, payload, qos, retain, dup: false } as const;
        aedes.publish(packet, (error) => (error ? reject(error) : resolve()));
      }),
    kick: () => {
      for (const socket of sockets) socket.destroy();
    },
    stop: async () => {
      if (!server.listening) return;
      self.kick();
      server.close();
      await once(server, 'close');
    },
    start: async () => {
      server = createListener();
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
    },
    published: async (topic, count = 1) => {
      const ofTopic = () => publishes.filter((publish) => publish.topic === topic);
      await until(() => ofTopic().length >= count);
      return ofTopic()[count - 1]!;
    },
    connected: (count) => until(() => connects.length >= count),
    subscribed: (filter) =>
      new Promise((resolve) => {
        aedes.on('subscribe', (subscriptions) => {
          if (subscriptions.some(({ topic }) => topic === filter)) resolve();
        });
      }),
    unsubscribed: (filter) =>
      new Promise((resolve) => {
        aedes.on('unsubscribe', (filters) => {
          if (filters.includes(filter)) resolve();
        });
      }),
  };
  onTestFinished(async () => {
    await self.stop();
    aedes.close();
  });
  return self;
}
