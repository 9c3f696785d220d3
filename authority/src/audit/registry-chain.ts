/**
 * Checks the audit chain of a registry that is at hand.
 *
 * Units   none.
 * Errors  those of `Registry`.
 * Source  `audit/chain.ts`.
 *
 * @module
 */
import type { AuditLog } from '../registry/audit-log.js';
import { type ChainFault, createChainCheck } from './chain.js';

const PAGE = 1000;

/** The first fault; `undefined` when the chain is whole. */
export async function findChainFault(
  log: Pick<AuditLog, 'auditState' | 'listEvents'>,
): Promise<ChainFault | undefined> {
  const check = createChainCheck(await log.auditState());
  let after: string | undefined;
  do {
    const page = await log.listEvents({}, { limit: PAGE, after });
    for (const record of page.items) {
      const fault = check.add(record);
      if (fault !== undefined) return fault;
    }
    after = page.next;
  } while (after !== undefined);
  return check.finish();
}
