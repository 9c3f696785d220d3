/**
 * What a fleet is made of, in numbers: how many devices there are of each status, role and label.
 *
 * Units   counts of devices; NumericDate.
 * Errors  those of `Registry`.
 * Source  DESIGN 4.
 *
 * @module
 */
import type { NumericDate } from '@latchkey/shared';
import type { Reach } from './lifecycle.js';
import type { ClientStatus } from './registry.js';

/** Groups of one kind that a summary lists at most, the largest. */
export const MAX_GROUPS = 100;

export interface SummaryRequest {
  /** Key of a label to count by; `undefined`: by none. */
  readonly labelKey: string | undefined;
  /** A key that was registered then or before is an old one. */
  readonly oldKeysUntil: NumericDate;
}

export interface Group {
  readonly name: string;
  readonly devices: number;
}

export interface Grouping {
  /** The largest first, then by name; `MAX_GROUPS` at most. */
  readonly groups: readonly Group[];
  /** How many groups there are beside them. */
  readonly moreGroups: number;
  /** Devices that are in no group. */
  readonly without: number;
}

export interface FleetSummary {
  readonly devices: number;
  readonly byStatus: Readonly<Record<ClientStatus, number>>;
  /** A device with two roles is in two groups. */
  readonly byRole: Grouping;
  readonly byLabel: Grouping | undefined;
  /** Without a key; revoked devices, which never need one again, are not counted. */
  readonly withoutKey: number;
  /** With a key that is old; revoked devices are not counted. */
  readonly withOldKey: number;
}

export interface FleetSummaries {
  /** All numbers are of one moment. With a reach, of the devices within it. */
  summarizeFleet(request: SummaryRequest, reach?: Reach): Promise<FleetSummary>;
}
