/**
 * Stands between a connection and the broker until the session is accepted.
 *
 * Aedes handles packets that arrive before its authentication is done: a publication sent right
 * behind CONNECT can be delivered for a stranger, an UNSUBSCRIBE can change somebody's stored
 * session. So exactly one CONNECT passes, bounded in size and time, and everything behind it waits
 * here, with back-pressure, until CONNACK 0 is written. The guard is an own `push` on the stream;
 * afterwards it is the stream's own again, and a live session pays nothing for it.
 *
 * Units   bytes and milliseconds.
 * Errors  none are thrown at the host: a connection that breaks a bound is destroyed and logged.
 * Source  STANDARDS 5.3 (1, 10), 6 (17, 18); DESIGN 6 and 9 (I3, I7, I11).
 *
 * @module
 */
import type { Duplex } from 'node:stream';
import { type Clock, createRateLimiter, type Logger } from '@latchkey/shared';
import { connectFrameLength, type FrameProblem } from './connect-frame.js';
import type { Notify } from './notices.js';
import type { Limits } from './options.js';
import type { Protection } from './protection.js';

/** The request of a WebSocket handshake, as far as it is used: its stream has no address. */
export interface Handshake {
  readonly socket: { readonly remoteAddress?: string | undefined };
}

export interface GuardOptions {
  /** Whether `takeConnection` counted the connection before its handshake. Default false. */
  readonly isCounted?: boolean;
}

export interface StreamGuards {
  /**
   * Guards a connection; call it before the stream is given to the broker. What comes too often is
   * destroyed.
   */
  guard<Stream extends Duplex>(
    stream: Stream,
    handshake?: Handshake,
    options?: GuardOptions,
  ): Stream;
  /** Whether the stream is guarded and its CONNECT went to the broker, but nothing else yet. */
  isHolding(stream: object): boolean;
  /** Where a guarded connection comes from, known even when it is gone meanwhile. */
  addressOf(stream: object): string | undefined;
  /** The CONNECT breaks the protocol. `false`: the address was banned before, which was told. */
  countFault(stream: object): boolean;
  /** The session is accepted: lets everything through and takes the guard off. */
  release(stream: object): void;
  /** Destroys what is too slow. Called about once a second. */
  sweep(): void;
  /** Destroys every connection that is not accepted yet. */
  destroyAll(): void;
}

type Push = (this: Duplex, chunk: unknown, encoding?: BufferEncoding) => boolean;

interface Gate {
  readonly stream: Duplex;
  readonly address: string | undefined;
  /** Before the CONNECT is complete: its parts. Then: what waits behind it. */
  chunks: Uint8Array[];
  size: number;
  /** Length of the CONNECT packet, once it is known. */
  connectLength: number | undefined;
  isHolding: boolean;
  /** The peer has ended its side while something waits. */
  hasEnded: boolean;
  deadlineMs: number;
  readonly open: () => void;
}

/** What may wait on top of one largest packet: two reads of a socket. */
const HELD_MARGIN_BYTES = 128 * 1024;

/** The peer breaks the protocol; that counts as a failure of its address. */
type Fault = FrameProblem | 'too-much-before-connack' | 'not-bytes';
/** The peer may be slow, or one of too many. */
type Problem = Fault | 'connect-timeout' | 'too-many-pending';

/** The log tells once in this time that there are too many. */
const TELL_AGAIN_SECONDS = 60;

/** All chunks as one; nearly always there is one, and nothing to copy. */
function inOne(chunks: readonly Uint8Array[]): Uint8Array {
  const [first] = chunks;
  return first !== undefined && chunks.length === 1 ? first : Buffer.concat(chunks);
}

export function createStreamGuards(deps: {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly notify: Notify;
  readonly limits: Limits;
  readonly protection: Protection;
}): StreamGuards {
  const { clock, logger, notify, limits, protection } = deps;
  const gates = new Map<object, Gate>();
  /** Those whose CONNECT is not complete, the oldest first. */
  const collecting = new Set<Gate>();
  const told = createRateLimiter({ perSecond: 1 / TELL_AGAIN_SECONDS, burst: 1 }, { clock });
  const maxHeldBytes = limits.packetBytes + HELD_MARGIN_BYTES;

  const tell = (reason: Problem, address: string | undefined): void => {
    const claimant = { address, clientId: undefined };
    const isToldAlready =
      protection.isBanned(claimant) || (reason === 'too-many-pending' && told.take(reason) > 0);
    if (!isToldAlready) {
      logger.warn({ event: 'connect.refused', reason, address }, 'connection refused');
    }
    notify('connect-refused', { mqttClientId: undefined, reason, returnCode: undefined, address });
  };

  const drop = (gate: Gate): void => {
    gates.delete(gate.stream);
    collecting.delete(gate);
    gate.chunks = [];
  };

  const refuse = (gate: Gate, reason: Problem): false => {
    drop(gate);
    tell(reason, gate.address);
    gate.stream.destroy();
    return false;
  };

  const refuseFault = (gate: Gate, fault: Fault): false => {
    refuse(gate, fault);
    protection.countFailure({ address: gate.address, clientId: undefined });
    return false;
  };

  /**
   * Makes room for one more. An honest client sends its CONNECT at once, so the one that has not for
   * longest goes; only when all are being decided there is no room.
   */
  const hasRoom = (): boolean => {
    if (gates.size < limits.pendingConnects) return true;
    const [oldest] = collecting;
    if (oldest !== undefined) refuse(oldest, 'too-many-pending');
    return oldest !== undefined;
  };

  const hold = (gate: Gate, bytes: Uint8Array): boolean => {
    gate.chunks.push(bytes);
    gate.size += bytes.length;
    if (gate.size > maxHeldBytes) return refuseFault(gate, 'too-much-before-connack');
    return false; // stops the source; Readable asks for more after the first real push
  };

  /** Collects the CONNECT and gives it to the broker in one piece. */
  const collect = (gate: Gate, bytes: Uint8Array, push: Push): boolean => {
    gate.chunks.push(bytes);
    gate.size += bytes.length;
    if (gate.connectLength === undefined) {
      // At most five small copies: five bytes always tell the length.
      const length = connectFrameLength(inOne(gate.chunks), limits.connectBytes);
      if (typeof length === 'string') return refuseFault(gate, length);
      gate.connectLength = length;
    }
    const { connectLength } = gate;
    if (connectLength === undefined || gate.size < connectLength) return true;
    const all = inOne(gate.chunks);
    gate.chunks = [];
    gate.size = 0;
    gate.isHolding = true;
    collecting.delete(gate);
    gate.deadlineMs = clock.nowMs() + limits.connectTimeoutMs + limits.authenticateTimeoutMs;
    const wantsMore = push.call(gate.stream, all.subarray(0, connectLength));
    return all.length === connectLength ? wantsMore : hold(gate, all.subarray(connectLength));
  };

  const guard = <Stream extends Duplex>(
    stream: Stream,
    handshake?: Handshake,
    { isCounted = false }: GuardOptions = {},
  ): Stream => {
    if (gates.has(stream)) return stream;
    const { remoteAddress: address } = handshake?.socket ?? (stream as Handshake['socket']);
    if (!isCounted && !protection.takeConnection(address)) return stream.destroy();
    if (!hasRoom()) {
      tell('too-many-pending', address);
      return stream.destroy();
    }
    const push = stream.push as Push;
    const forget = () => drop(gate);

    const gate: Gate = {
      stream,
      address,
      chunks: [],
      size: 0,
      connectLength: undefined,
      isHolding: false,
      hasEnded: false,
      deadlineMs: clock.nowMs() + limits.connectTimeoutMs,
      open: () => {
        const { chunks, hasEnded } = gate;
        drop(gate);
        stream.removeListener('close', forget);
        // Not deleted: an object that lost a property is kept as a table, larger and slower, for good.
        stream.push = push;
        for (const bytes of chunks) stream.push(bytes);
        if (hasEnded) stream.push(null);
      },
    };

    const guardedPush: Push = (chunk, encoding) => {
      if (!gates.has(stream)) return chunk === null ? push.call(stream, null) : false; // refused
      if (chunk === null) {
        if (gate.isHolding && gate.size > 0) {
          gate.hasEnded = true; // in order: after what waits
          return false;
        }
        return push.call(stream, null);
      }
      const bytes = typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk;
      if (!(bytes instanceof Uint8Array)) return refuseFault(gate, 'not-bytes');
      return gate.isHolding ? hold(gate, bytes) : collect(gate, bytes, push);
    };

    gates.set(stream, gate);
    collecting.add(gate);
    stream.on('close', forget);
    // What came before the guard was set is taken out of the buffer and goes the same way.
    const early: unknown = stream.readableLength > 0 ? stream.read() : null;
    stream.push = guardedPush;
    if (early !== null) stream.push(early);
    return stream;
  };

  return {
    guard,
    isHolding: (stream) => gates.get(stream)?.isHolding === true,
    addressOf: (stream) => gates.get(stream)?.address,
    countFault: (stream) => {
      const claimant = { address: gates.get(stream)?.address, clientId: undefined };
      const isBanned = protection.isBanned(claimant);
      protection.countFailure(claimant);
      return !isBanned;
    },
    release: (stream) => gates.get(stream)?.open(),
    sweep: () => {
      const now = clock.nowMs();
      for (const gate of gates.values()) {
        if (now >= gate.deadlineMs) refuse(gate, 'connect-timeout');
      }
    },
    destroyAll: () => {
      for (const gate of gates.values()) gate.stream.destroy();
      gates.clear();
      collecting.clear();
    },
  };
}
