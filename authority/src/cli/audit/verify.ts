/**
 * `latchkey audit verify`: recomputes the chain of all events that are kept.
 *
 * It is computed here, from what the authority hands out, and not by the authority.
 *
 * Units   none.
 * Errors  exit code 1, naming the event at which the chain breaks; those of `openManagement`.
 * Source  `audit/chain.ts`.
 *
 * @module
 */
import { EXIT, type ExitCode, FormatError } from '@latchkey/shared';
import { type ChainCheck, createChainCheck } from '../../audit/chain.js';
import type { AuditState, ChainPlace } from '../../registry/audit-log.js';
import { type Io, printJson, printLine, printNote } from '../io.js';
import {
  type ManagementClient,
  type ManagementOptions,
  openManagement,
} from '../management-client.js';
import { eachEvent, readState, toRecord } from './events.js';
import { PROGRESS_EVERY } from './list.js';

export interface VerifyOptions extends ManagementOptions {
  readonly expect?: readonly string[];
  readonly json?: boolean;
}

function parsePlace(text: string): ChainPlace {
  const match = /^([1-9][0-9]{0,14}):([A-Za-z0-9_-]{43})$/.exec(text);
  if (match === null) throw new FormatError('--expect', 'must look like 42:HASH');
  return { sequence: Number(match[1]), hash: match[2] as string };
}

/** Takes every event; `undefined` when the chain is whole. */
async function findFault(
  management: ManagementClient,
  { checkpoint, lastSequence }: AuditState,
  check: ChainCheck,
  io: Io,
): Promise<{ readonly sequence: number; readonly problem: string } | undefined> {
  for await (const item of eachEvent(management, {}, checkpoint.sequence)) {
    const fault = check.add(toRecord(item));
    if (fault !== undefined) return fault;
    const { sequence } = check.last();
    if (sequence % PROGRESS_EVERY === 0) printNote(io, `event ${sequence} of ${lastSequence}`);
    // Others come while this runs.
    if (sequence >= lastSequence) break;
  }
  return check.finish();
}

export async function verifyEvents(options: VerifyOptions, io: Io): Promise<ExitCode> {
  const expected = (options.expect ?? []).map(parsePlace);
  const management = await openManagement(options, io);
  const state = await readState(management);
  const check = createChainCheck(state, expected);
  const fault = await findFault(management, state, check, io);
  const { sequence, hash } = check.last();
  const first = state.checkpoint.sequence + 1;
  if (options.json) printJson(io, { is_whole: fault === undefined, first, sequence, hash, fault });
  if (fault !== undefined) {
    printNote(io, `error: event ${fault.sequence}: ${fault.problem}`);
    return EXIT.failed;
  }
  if (!options.json) {
    printLine(io, `events ${first} to ${sequence} are whole`);
    printLine(io, `${sequence}:${hash}`);
    printNote(io, 'note the last line elsewhere; "audit verify --expect" compares with it later');
  }
  return EXIT.ok;
}
