/**
 * MQTT packet by packet over any stream, so that a test can send what no client library would.
 *
 * @module
 */
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { generate, type IConnectPacket, type Packet, parser } from 'mqtt-packet';
import { onTestFinished } from 'vitest';

export interface WireClient {
  readonly stream: Duplex;
  /** Every packet that came, in order. */
  readonly packets: readonly Packet[];
  send(...packets: (Packet | Uint8Array)[]): void;
  /** Called for every packet that comes from now on. */
  onPacket(listener: (packet: Packet) => void): void;
  /** The next packet of that kind that no one asked for yet; rejects when the stream closes first. */
  next<Cmd extends Packet['cmd']>(cmd: Cmd): Promise<Extract<Packet, { cmd: Cmd }>>;
  readonly closed: Promise<void>;
}

export function connectPacket(
  token: string | undefined,
  changes: Partial<IConnectPacket> = {},
): IConnectPacket {
  return {
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clientId: 't-42',
    clean: true,
    keepalive: 60,
    username: 't-42',
    ...(token === undefined ? {} : { password: Buffer.from(token) }),
    ...changes,
  };
}

export function encoded(
  packet: Packet | Uint8Array,
  options: { readonly protocolVersion: number } = { protocolVersion: 4 },
): Uint8Array {
  return packet instanceof Uint8Array ? packet : generate(packet, options);
}

/** The version that a CONNECT in bytes is of: behind the length and the name of the protocol. */
function connectVersion(bytes: Uint8Array): number {
  const lengthEnd = bytes.findIndex((value, i) => i > 0 && value < 0x80);
  return bytes[lengthEnd + 7] === 5 ? 5 : 4;
}

export function publishPacket(
  topic: string,
  qos: 0 | 1 | 2 = 0,
  options: { payload?: string; retain?: boolean; messageId?: number; dup?: boolean } = {},
): Packet {
  const { payload = 'x', retain = false, messageId = 1, dup = false } = options;
  const id = qos === 0 ? {} : { messageId };
  return { cmd: 'publish', topic, qos, payload, retain, dup, ...id };
}

export function subscribePacket(
  filters: Readonly<Record<string, 0 | 1 | 2>>,
  messageId = 1,
): Packet {
  const subscriptions = Object.entries(filters).map(([topic, qos]) => ({ topic, qos }));
  return { cmd: 'subscribe', messageId, subscriptions };
}

export function overStream(stream: Duplex): WireClient {
  const packets: Packet[] = [];
  const taken = new Set<Packet>();
  const watchers = new Set<() => void>();
  const notify = () => {
    for (const watch of watchers) watch();
  };
  let isClosed = false;
  // The version of the CONNECT that is sent is the version of everything after it.
  const settings = { protocolVersion: 4 };
  const incoming = parser(settings);
  incoming.on('packet', (packet) => {
    packets.push(packet);
    notify();
  });
  incoming.on('error', () => stream.destroy());
  stream.on('data', (chunk: Buffer) => incoming.parse(chunk));
  stream.on('error', () => undefined);
  stream.once('end', () => stream.destroy()); // a WebSocket stream stays half open
  const closed = new Promise<void>((resolve) => {
    stream.once('close', () => {
      isClosed = true;
      notify();
      resolve();
    });
  });
  onTestFinished(() => {
    stream.destroy();
  });
  return {
    stream,
    packets,
    send: (...sent) => {
      for (const packet of sent) {
        if (packet instanceof Uint8Array) {
          if (packet[0] === 0x10) settings.protocolVersion = connectVersion(packet);
        } else if (packet.cmd === 'connect') {
          settings.protocolVersion = packet.protocolVersion ?? 4;
        }
      }
      stream.write(Buffer.concat(sent.map((packet) => encoded(packet, settings))));
    },
    onPacket: (listener) => {
      incoming.on('packet', listener);
    },
    next: (cmd) =>
      new Promise((resolve, reject) => {
        const watch = () => {
          const packet = packets.find((one) => one.cmd === cmd && !taken.has(one));
          if (packet === undefined && !isClosed) return;
          watchers.delete(watch);
          if (packet === undefined) return reject(new Error(`closed before ${cmd}`));
          taken.add(packet);
          resolve(packet as never);
        };
        watchers.add(watch);
        watch();
      }),
    closed,
  };
}

/** `localAddress`: where the connection comes from; every address of 127.0.0.0/8 is this machine. */
export async function overTcp(port: number, localAddress = '127.0.0.1'): Promise<WireClient> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true, localAddress });
  await once(socket, 'connect');
  return overStream(socket);
}
