/**
 * Rotates signing keys by age while the authority runs.
 *
 * Units   milliseconds where a name says so; ages in seconds.
 * Errors  none: a rotation that fails is logged and tried again.
 * Source  DESIGN 5.
 *
 * @module
 */
import type { Clock, Logger } from '@latchkey/shared';
import { AUTHORITY_ACTOR } from '../audit/audit.js';
import type { AuditDraft, AuditLog } from '../registry/audit-log.js';
import type { SigningKeys } from '../signing-keys.js';

const LOOK_EVERY_MS = 600_000;
const DAY_SECONDS = 86_400;

/** What the audit log says of a rotation that nobody asked for. */
const draft: AuditDraft = {
  describe: () => ({
    type: 'signing-key',
    actor: AUTHORITY_ACTOR,
    action: 'rotate',
    target: '/signing-keys',
    outcome: 'ok',
    address: undefined,
  }),
};

/** Runs until the signal aborts; `days` 0 switches it off. */
export async function runRotationSchedule(
  deps: {
    readonly log: Pick<AuditLog, 'withEvent'>;
    readonly signingKeys: SigningKeys;
    /** Age at which an active key retires. */
    readonly days: number;
    readonly clock: Clock;
    readonly logger: Logger;
  },
  signal: AbortSignal,
): Promise<void> {
  const { log, signingKeys, days, clock, logger } = deps;
  const rotate = () => signingKeys.rotateOlderThan(days * DAY_SECONDS);
  while (days > 0 && !signal.aborted) {
    try {
      await log.withEvent(draft, rotate);
    } catch (error) {
      logger.error({ event: 'signing-key.not-rotated', err: error }, 'signing keys not rotated');
    }
    await clock.sleep(LOOK_EVERY_MS, signal).catch(() => undefined);
  }
}
