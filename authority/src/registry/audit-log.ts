/**
 * The audit log: what was decided and changed, by whom, as a chain that shows every later change to it.
 *
 * Units   `at`, `since`: NumericDate; `sequence` counts events from 1 on without gaps.
 * Errors  `UnavailableError` when storage fails or too much waits for it.
 * Source  DESIGN 5 (`audit_event`), 9 (I1, I10).
 *
 * @module
 */
import type { NumericDate } from '@latchkey/shared';
import type { Page, PageRequest } from './registry.js';

export const AUDIT_TYPES = [
  'audit',
  'authority',
  'enrollment',
  'key-rotation',
  'management',
  'signing-key',
  'token',
] as const;
export type AuditType = (typeof AUDIT_TYPES)[number];

/** `failed`: neither done nor refused, since the authority could not. */
export const AUDIT_OUTCOMES = ['ok', 'refused', 'failed'] as const;
export type AuditOutcome = (typeof AUDIT_OUTCOMES)[number];

/** Something that happened. It never holds a secret. */
export interface AuditEvent {
  readonly type: AuditType;
  /** Who it was, proven: a client id, or `authority` for what it does by itself; else `undefined`. */
  readonly actor: string | undefined;
  /** A verb, such as `issue` or `create`. */
  readonly action: string;
  /** What it was done to, such as `/devices/t-42` or a resource identifier. */
  readonly target: string | undefined;
  readonly outcome: AuditOutcome;
  /** Where the request came from. */
  readonly address: string | undefined;
  /** The client that it is about; of a refused request the one that it names, proven or not. */
  readonly clientId?: string | undefined;
  /** Of the token issued or revoked. */
  readonly jti?: string | undefined;
  /** Of the client's key that vouched for the request. */
  readonly kid?: string | undefined;
  /** Why it was refused, or what was granted. */
  readonly detail?: string | undefined;
}

/** An event in the chain. */
export interface AuditRecord extends AuditEvent {
  readonly sequence: number;
  readonly at: NumericDate;
  /** Of the event before; see `audit/event-hash.ts`. */
  readonly previousHash: string;
  readonly hash: string;
}

/** A place in the chain: an event, or the beginning. */
export interface ChainPlace {
  readonly sequence: number;
  readonly hash: string;
}

export interface AuditState {
  /** Everything up to here was cut off, since it was older than is kept. */
  readonly checkpoint: ChainPlace;
  /** `sequence` of the newest event that ever was. */
  readonly lastSequence: number;
}

/** The audit event of a request that is under way. */
export interface AuditDraft {
  /** The event of a change that succeeded, or several, given what the change returned. */
  describe(result: unknown): AuditEvent | readonly AuditEvent[];
}

/** All of it must be true of an event. */
export interface AuditFilter {
  readonly clientId?: string | undefined;
  readonly type?: AuditType | undefined;
  readonly outcome?: AuditOutcome | undefined;
  readonly since?: NumericDate | undefined;
}

export interface AuditPageRequest extends PageRequest {
  /** From the newest event backwards. */
  readonly isNewestFirst?: boolean;
}

export interface AuditLog {
  /** Resolves when the event is durable; concurrent calls are committed together. */
  recordEvent(event: AuditEvent): Promise<void>;
  /**
   * Runs `work`; every change to the registry that it makes, also after it returned a promise, is one
   * transaction with an event. `redeem` and `revokeToken` are changes, spending an assertion is none.
   */
  withEvent<Result>(draft: AuditDraft, work: () => Result): Result;
  /** A page may hold fewer events than its limit and still have a next one: its work is bounded. */
  listEvents(filter: AuditFilter, page: AuditPageRequest): Promise<Page<AuditRecord>>;
  auditState(): Promise<AuditState>;
  /**
   * Cuts off events that are all older than `before`, as far as one bounded step goes, and records
   * that. Returns how many events went; 0: there is nothing left to cut.
   */
  cutEvents(before: NumericDate): Promise<number>;
}
