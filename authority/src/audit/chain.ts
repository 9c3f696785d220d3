/**
 * Checks that a chain of audit events is whole: none changed, removed, inserted or moved.
 *
 * It shows changes to the events, not to all of chain and state together by somebody who can write
 * the file and hash everything again; a place noted elsewhere (`expected`) shows that too.
 *
 * Units   `sequence` counts events.
 * Errors  none; it returns the first fault.
 * Source  DESIGN 5; README "Audit log".
 *
 * @module
 */
import type { AuditEvent, AuditRecord, AuditState, ChainPlace } from '../registry/audit-log.js';
import { hashEvent } from './event-hash.js';

export interface ChainFault {
  /** Event at which the chain breaks. */
  readonly sequence: number;
  readonly problem: string;
}

export interface ChainCheck {
  /** Takes the next event, in order. */
  add(record: AuditRecord): ChainFault | undefined;
  /** Asks, after the last one, for what only the whole shows. */
  finish(): ChainFault | undefined;
  /** The last event that was taken. */
  last(): ChainPlace;
}

const CUT = 'cut';

/** What cutting off everything up to a place leaves in the chain, so that the place is proven by it. */
export function cutEvent({ sequence, hash }: ChainPlace): AuditEvent {
  return {
    type: 'audit',
    actor: 'authority',
    action: CUT,
    target: `events up to ${sequence}`,
    outcome: 'ok',
    address: undefined,
    detail: hash,
  };
}

/** `expected`: places that were noted before, such as the last one of the verification before. */
export function createChainCheck(
  { checkpoint, lastSequence }: AuditState,
  expected: readonly ChainPlace[] = [],
): ChainCheck {
  let last: ChainPlace = checkpoint;
  let lastCut: AuditRecord | undefined;

  const faultOf = (record: AuditRecord): string | undefined => {
    const next = last.sequence + 1;
    if (record.sequence > next) return `event ${next} is missing before it`;
    if (record.sequence < next) return 'is out of order';
    if (record.previousHash !== last.hash) return 'does not continue the event before it';
    if (record.hash !== hashEvent(record)) return 'was changed';
    const noted = expected.find(({ sequence }) => sequence === record.sequence);
    if (noted !== undefined && noted.hash !== record.hash) return 'is not the one that was noted';
    return undefined;
  };

  const add = (record: AuditRecord): ChainFault | undefined => {
    const problem = faultOf(record);
    if (problem !== undefined) return { sequence: record.sequence, problem };
    last = { sequence: record.sequence, hash: record.hash };
    if (record.type === 'audit' && record.action === CUT) lastCut = record;
    return undefined;
  };

  const finish = (): ChainFault | undefined => {
    if (last.sequence < lastSequence) {
      return {
        sequence: last.sequence,
        problem: `events after it up to ${lastSequence} are missing`,
      };
    }
    const cut = checkpoint.sequence === 0 ? undefined : cutEvent(checkpoint);
    if (cut?.target !== lastCut?.target || cut?.detail !== lastCut?.detail) {
      const { sequence } = checkpoint;
      return { sequence, problem: 'no event says that everything up to it was cut off' };
    }
    const unseen = expected.find(({ sequence }) => sequence > last.sequence);
    return unseen && { sequence: unseen.sequence, problem: 'was noted and is missing' };
  };

  return { add, finish, last: () => last };
}
