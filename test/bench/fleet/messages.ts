/**
 * What is asked of a process full of agents.
 *
 * Units   instants in milliseconds since the epoch, waits in seconds, sizes in bytes.
 *
 * @module
 */
import type { Issuer, ResourceId } from '@latchkey/shared';

/** Enrolls so many devices, in folders of their own. */
export interface EnrollOrder {
  readonly type: 'enroll';
  readonly folder: string;
  readonly issuer: Issuer;
  readonly code: string;
  /** That of the broker, and the audience of tokens. */
  readonly resource: ResourceId;
  readonly devices: { readonly first: number; readonly count: number };
}

export type FleetOrder = EnrollOrder | { readonly type: 'start' } | { readonly type: 'look' };

/** What happened since the last look, and how it is now. */
export interface FleetLook {
  readonly tokenRequestsAt: readonly number[];
  readonly onlineAt: readonly number[];
  readonly onlineNow: number;
  /** The longest wait that an agent has announced. */
  readonly longestWaitSeconds: number;
  readonly residentBytes: number;
}
