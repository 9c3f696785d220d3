/**
 * Stands between a connection and the broker until the session is accepted.
 *
 * Aedes handles packets that arrive before its authentication is done: a publication sent right
 * behind CONNECT can be delivered for a stranger, an UNSUBSCRIBE can change somebody's stored
 * session. So exactly one CONNECT passes, bounded in size and time, and everything behind it waits
 * here, with back-pressure, until CONNACK 0 is written. The guard is an own `push` on the stream;
 * afterwards it is deleted, and a live session pays nothing for it.
 *
 * Units   bytes and milliseconds.
 * Errors  none are thrown at the host: a connection that breaks a bound is destroyed and logged.
 * Source  STANDARDS 5.3 (1, 10), 6 (17, 18); DESIGN 6 and 9 (I3, I7, I11).
 *
 * @module
 */
import type { Duplex } from 'node:stream';
import type { Clock, Logger } from '@latchkey/shared';
import { connectFrameLength, type FrameProblem } from './connect-frame.js';
import type { Notify } from './notices.js';
import type { Limits } from './options.js';

export interface StreamGuards {
  /** Guards a connection; call it before the stream is given to the broker. */
  guard<Stream extends Duplex>(stream: Stream): Stream;
  /** Whether the stream is guarded and its CONNECT went to the broker, but nothing else yet. */
  isHolding(stream: object): boolean;
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

type Problem = FrameProblem | 'connect-timeout' | 'too-much-before-connack' | 'not-bytes';

export function createStreamGuards(deps: {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly notify: Notify;
  readonly limits: Limits;
}): StreamGuards {
  const { clock, logger, notify, limits } = deps;
  const gates = new Map<object, Gate>();
  const maxHeldBytes = limits.packetBytes + HELD_MARGIN_BYTES;

  const refuse = (gate: Gate, reason: Problem): false => {
    gates.delete(gate.stream);
    gate.chunks = [];
    const address = (gate.stream as { remoteAddress?: string }).remoteAddress;
    logger.warn({ event: 'connect.refused', reason, address }, 'connection refused');
    const notice = { mqttClientId: undefined, reason, returnCode: undefined, address };
    notify('connect-refused', notice);
    gate.stream.destroy();
    return false;
  };

  const hold = (gate: Gate, bytes: Uint8Array): boolean => {
    gate.chunks.push(bytes);
    gate.size += bytes.length;
    if (gate.size > maxHeldBytes) return refuse(gate, 'too-much-before-connack');
    return false; // stops the source; Readable asks for more after the first real push
  };

  /** Collects the CONNECT and gives it to the broker in one piece. */
  const collect = (gate: Gate, bytes: Uint8Array, push: Push): boolean => {
    gate.chunks.push(bytes);
    gate.size += bytes.length;
    if (gate.connectLength === undefined) {
      // At most five small copies: five bytes always tell the length.
      const length = connectFrameLength(Buffer.concat(gate.chunks), limits.connectBytes);
      if (typeof length === 'string') return refuse(gate, length);
      gate.connectLength = length;
    }
    const { connectLength } = gate;
    if (connectLength === undefined || gate.size < connectLength) return true;
    const all = Buffer.concat(gate.chunks);
    gate.chunks = [];
    gate.size = 0;
    gate.isHolding = true;
    gate.deadlineMs = clock.nowMs() + limits.connectTimeoutMs + limits.authenticateTimeoutMs;
    const wantsMore = push.call(gate.stream, all.subarray(0, connectLength));
    return all.length === connectLength ? wantsMore : hold(gate, all.subarray(connectLength));
  };

  const guard = <Stream extends Duplex>(stream: Stream): Stream => {
    if (gates.has(stream)) return stream;
    const push = stream.push as Push;
    const hadOwnPush = Object.hasOwn(stream, 'push');
    const forget = () => gates.delete(stream);

    const gate: Gate = {
      stream,
      chunks: [],
      size: 0,
      connectLength: undefined,
      isHolding: false,
      hasEnded: false,
      deadlineMs: clock.nowMs() + limits.connectTimeoutMs,
      open: () => {
        const { chunks, hasEnded } = gate;
        gates.delete(stream);
        gate.chunks = [];
        stream.removeListener('close', forget);
        if (hadOwnPush) stream.push = push;
        else delete (stream as { push?: unknown }).push;
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
      if (!(bytes instanceof Uint8Array)) return refuse(gate, 'not-bytes');
      return gate.isHolding ? hold(gate, bytes) : collect(gate, bytes, push);
    };

    gates.set(stream, gate);
    stream.once('close', forget);
    // What came before the guard was set is taken out of the buffer and goes the same way.
    const early: unknown = stream.readableLength > 0 ? stream.read() : null;
    stream.push = guardedPush;
    if (early !== null) stream.push(early);
    return stream;
  };

  return {
    guard,
    isHolding: (stream) => gates.get(stream)?.isHolding === true,
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
    },
  };
}
