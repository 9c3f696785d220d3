/**
 * Cuts off audit events that are too old to be kept, while the authority runs.
 *
 * Units   milliseconds where a name says so.
 * Errors  none: what fails is logged and tried again.
 * Source  DESIGN 5.
 *
 * @module
 */
import { setImmediate } from 'node:timers/promises';
import type { Clock, Logger } from '@latchkey/shared';
import type { AuditLog } from '../registry/audit-log.js';

const LOOK_EVERY_MS = 3_600_000;
const DAY_SECONDS = 86_400;

export interface RetentionDeps {
  readonly log: Pick<AuditLog, 'cutEvents'>;
  /** Age at which an event may go; 0 keeps all. */
  readonly days: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Cuts step by step, so that requests come in between. Returns how many events went. */
export async function cutOldEvents(
  { log, days, clock }: Omit<RetentionDeps, 'logger'>,
  signal?: AbortSignal,
): Promise<number> {
  const before = clock.now() - days * DAY_SECONDS;
  let total = 0;
  for (let cut = -1; cut !== 0 && signal?.aborted !== true; total += cut) {
    cut = await log.cutEvents(before);
    await setImmediate();
  }
  return total;
}

/** Runs until the signal aborts. */
export async function runAuditRetention(deps: RetentionDeps, signal: AbortSignal): Promise<void> {
  const { days, clock, logger } = deps;
  while (days > 0 && !signal.aborted) {
    try {
      const events = await cutOldEvents(deps, signal);
      if (events > 0) logger.info({ event: 'audit.cut', events }, 'old audit events cut off');
    } catch (error) {
      logger.error({ event: 'audit.not-cut', err: error }, 'old audit events not cut off');
    }
    await clock.sleep(LOOK_EVERY_MS, signal).catch(() => undefined);
  }
}
