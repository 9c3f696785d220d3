/**
 * Which will may be published: the one its CONNECT was allowed, unless the registry refuses it by now.
 *
 * Aedes publishes a will when the connection is closed, or, with the delay of MQTT 5, hours later. A
 * token that has expired meanwhile does not count, but a client that was revoked or lost the right
 * does: its session is gone from every table by then, so the registry is asked.
 *
 * Units   none.
 * Errors  none; what cannot be said is a refusal.
 * Source  RFC 9431 5; MQTT 5 3.1.3.2.2 (will delay); STANDARDS 5.3 (4), 6 (20); DESIGN 9 (I5).
 *
 * @module
 */
import type { Client, PublishPacket } from './aedes-types.js';
import type { Authorize } from './authorize.js';
import type { Session } from './sessions.js';
import type { SessionContext } from './verify-token.js';

export interface ApprovedWills {
  /** Whether the packet is the will of this very connection, and may go out. */
  isApproved(client: Client, session: Session, packet: PublishPacket): boolean;
}

/** How long a will waited is for the broker; a publication has no such property. */
export function dropWillDelay(packet: PublishPacket): void {
  const properties = packet.properties as { willDelayInterval?: number } | undefined;
  if (properties?.willDelayInterval !== undefined) delete properties.willDelayInterval;
}

export function createApprovedWills(deps: {
  readonly authorize: Authorize;
  /** What the registry makes of a context now; throws when its client may not be here. */
  readonly again: (context: SessionContext) => SessionContext;
}): ApprovedWills {
  const { authorize, again } = deps;

  const isStillAllowed = ({ context }: Session, { topic, qos, retain }: PublishPacket): boolean => {
    try {
      const now = again(context);
      const request = { action: 'publish', topic, qos, retain } as const;
      return now === context || authorize(now, request, now.expiresAt - 1).allowed;
    } catch {
      return false;
    }
  };

  return {
    isApproved: (client, session, packet) =>
      session.will?.packet === packet &&
      session.hasBegun &&
      client.closed &&
      isStillAllowed(session, packet),
  };
}
