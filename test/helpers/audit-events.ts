/**
 * Audit events for tests: some that happen, a chain of them, and what a registry holds.
 *
 * @module
 */
import {
  type AuditEvent,
  type AuditFilter,
  type AuditRecord,
  CHAIN_BEGINNING,
  type ChainFault,
  createChainCheck,
  hashEvent,
  type Registry,
} from '@latchkey/authority';

export const tokenEvent = (more: Partial<AuditEvent> = {}): AuditEvent => ({
  type: 'token',
  actor: 't-42',
  action: 'issue',
  target: 'mqtts://broker.example',
  outcome: 'ok',
  address: '192.0.2.7',
  clientId: 't-42',
  ...more,
});

/** The chain that these events make. */
export function chainOf(events: readonly AuditEvent[], at = 1_760_000_000): AuditRecord[] {
  let previousHash = CHAIN_BEGINNING.hash;
  return events.map((event, index) => {
    const record = { ...event, sequence: index + 1, at: at + index, previousHash };
    previousHash = hashEvent(record);
    return { ...record, hash: previousHash };
  });
}

/** All events that match, page by page, in pages of that many. */
export async function allEvents(
  registry: Registry,
  filter: AuditFilter = {},
  limit = 100,
): Promise<readonly AuditRecord[]> {
  const found: AuditRecord[] = [];
  let after: string | undefined;
  do {
    const page = await registry.listEvents(filter, { limit, after });
    found.push(...page.items);
    after = page.next;
  } while (after !== undefined);
  return found;
}

/** First fault of what a registry holds; `undefined`: its chain is whole. */
export async function faultOf(registry: Registry): Promise<ChainFault | undefined> {
  const check = createChainCheck(await registry.auditState());
  for (const record of await allEvents(registry)) {
    const fault = check.add(record);
    if (fault !== undefined) return fault;
  }
  return check.finish();
}
