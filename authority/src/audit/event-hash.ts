/**
 * The hash that chains audit events: each is over the fields of its event and the hash before it.
 *
 *     hash = base64url(SHA-256(UTF-8(JSON.stringify([
 *       "latchkey-audit-1", previous_hash, sequence, at, type, actor, action, target, outcome,
 *       client_id, jti, kid, address, detail ]))))
 *
 * An absent field is `null`. A JSON array of strings, integers and nulls has one spelling in
 * `JSON.stringify` (ECMA-262 25.5.2), and no two lists of fields share it.
 *
 * Units   none.
 * Errors  none.
 * Source  FIPS 180-4 (SHA-256), RFC 4648 5 (base64url); README "Audit log".
 *
 * @module
 */
import { hash } from 'node:crypto';
import type { AuditRecord, ChainPlace } from '../registry/audit-log.js';

const VERSION = 'latchkey-audit-1';

/** Before the first event: 32 zero bytes. */
export const CHAIN_BEGINNING: ChainPlace = { sequence: 0, hash: 'A'.repeat(43) };

export function hashEvent(record: Omit<AuditRecord, 'hash'>): string {
  const text = JSON.stringify([
    VERSION,
    record.previousHash,
    record.sequence,
    record.at,
    record.type,
    record.actor ?? null,
    record.action,
    record.target ?? null,
    record.outcome,
    record.clientId ?? null,
    record.jti ?? null,
    record.kid ?? null,
    record.address ?? null,
    record.detail ?? null,
  ]);
  return hash('sha256', text, 'base64url');
}
