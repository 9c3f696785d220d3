/**
 * MQTT as lean as it can be: connections of the process that makes load.
 *
 * @module
 */
import { type Socket, connect as tcpConnect } from 'node:net';
import { generate } from 'mqtt-packet';
import type { Target } from './messages.ts';

/** A packet lies in `chunk` from `at` to `end`; `type` is the first byte of its header. */
export type OnPacket = (type: number, chunk: Buffer, at: number, end: number) => void;

export interface Connection {
  readonly socket: Socket;
  /** Who hears of the packets after CONNACK. */
  onPacket: OnPacket;
  readonly closed: Promise<void>;
}

/** Ports on one address would run out: a closed connection keeps its own for a minute. */
const ADDRESSES = 64;
let opened = 0;

const nobody: OnPacket = () => undefined;

/** Feeds whole packets; keeps what is cut at the end of a chunk. */
function packetReader(onPacket: OnPacket): (chunk: Buffer) => void {
  let rest: Buffer | undefined;
  return (chunk) => {
    const all = rest === undefined ? chunk : Buffer.concat([rest, chunk]);
    rest = undefined;
    let at = 0;
    while (at < all.length) {
      let length = 0;
      let head = 1;
      let byte = 0x80;
      while (byte >= 0x80 && at + head < all.length) {
        byte = all[at + head] as number;
        length += (byte & 0x7f) * 128 ** (head - 1);
        head += 1;
      }
      const end = at + head + length;
      if (byte >= 0x80 || end > all.length) {
        rest = all.subarray(at);
        return;
      }
      onPacket(all[at] as number, all, at, end);
      at = end;
    }
  };
}

const CONNACK = 0x20;

/** Resolves at CONNACK 0. */
export function open(target: Target, id: string, password: string): Promise<Connection> {
  opened += 1;
  const socket = tcpConnect({
    port: target.port,
    host: '127.0.0.1',
    localAddress: `127.0.0.${2 + (opened % ADDRESSES)}`,
    noDelay: true,
  });
  const packet = generate({
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clientId: id,
    clean: true,
    keepalive: 600,
    username: id,
    password: Buffer.from(password),
  });
  return new Promise((resolve, reject) => {
    const closed = new Promise<void>((isClosed) => {
      socket.once('close', () => {
        isClosed();
        reject(new Error(`${id}: closed before CONNACK`));
      });
    });
    const connection: Connection = { socket, closed, onPacket: nobody };
    socket.on('error', reject);
    const read = packetReader((type, chunk, at, end) => {
      if (type !== CONNACK) return connection.onPacket(type, chunk, at, end);
      if (chunk[at + 3] === 0) resolve(connection);
      else reject(new Error(`${id}: CONNACK ${chunk[at + 3]}`));
    });
    socket.on('data', read);
    socket.once('connect', () => socket.write(packet));
  });
}

const DISCONNECT = Buffer.from([0xe0, 0]);

/** Leaves, and waits until the broker has closed every connection. */
export async function leave(connections: readonly Connection[]): Promise<void> {
  for (const { socket } of connections) socket.end(DISCONNECT);
  await Promise.all(connections.map(({ closed }) => closed));
}
