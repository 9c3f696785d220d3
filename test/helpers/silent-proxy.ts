/**
 * A TCP proxy that can go silent: what a mobile network, a NAT or a pulled cable does to a connection
 * without telling either end.
 *
 * @module
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

export interface SilentProxy {
  readonly port: number;
  /** From now on nothing goes through, in either direction, and nothing is closed. */
  silence(): void;
  /** New connections go through again; those that were silenced stay as they are. */
  heal(): void;
}

/** Between whoever connects and a port of 127.0.0.1. */
export async function startSilentProxy(targetPort: number): Promise<SilentProxy> {
  const sockets = new Set<Socket>();
  let isSilent = false;

  const keep = (socket: Socket): void => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
  };
  const server = createServer({ allowHalfOpen: true }, (near) => {
    keep(near);
    if (isSilent) return;
    const far = connect({ port: targetPort, host: '127.0.0.1', allowHalfOpen: true });
    keep(far);
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      one.pipe(other);
      one.once('close', () => {
        if (!isSilent) other.destroy();
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return {
    port: (server.address() as AddressInfo).port,
    silence: () => {
      isSilent = true;
      for (const socket of sockets) {
        socket.unpipe();
        socket.pause();
      }
    },
    heal: () => {
      isSilent = false;
    },
  };
}
