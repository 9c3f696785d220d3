/**
 * Commits changes to the registry together with the audit event of the request that asks for them.
 *
 * The event travels beside the call (`AsyncLocalStorage`), so that none of the methods that change
 * something has a parameter for it, and none can forget it.
 *
 * Units   none.
 * Errors  none of its own.
 * Source  https://nodejs.org/api/async_context.html; DESIGN 5.
 *
 * @module
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Database } from 'better-sqlite3';
import type { AuditDraft } from '../audit-log.js';
import type { SqliteAuditLog } from './audit-log.js';

export interface AuditedChanges {
  /** Runs `work`; changes within, also later ones of what it starts, are committed with the event. */
  with<Result>(draft: AuditDraft, work: () => Result): Result;
  /** Runs a change: one transaction, with the event when there is one. */
  change<Result>(work: () => Result): Result;
}

export function createAuditedChanges(deps: {
  readonly db: Database;
  readonly auditLog: SqliteAuditLog;
}): AuditedChanges {
  const { db, auditLog } = deps;
  const drafts = new AsyncLocalStorage<AuditDraft>();
  const together = db.transaction((work: () => unknown, draft: AuditDraft) => {
    const result = work();
    for (const event of [draft.describe(result)].flat()) auditLog.append(event);
    return result;
  });
  return {
    with: (draft, work) => drafts.run(draft, work),
    change: <Result>(work: () => Result): Result => {
      const draft = drafts.getStore();
      if (draft === undefined) return work();
      return together.immediate(work, draft) as Result;
    },
  };
}
