/**
 * `latchkey audit tail`: the newest events, and with `--follow` those that come.
 *
 * Units   milliseconds where a name says so.
 * Errors  those of `openManagement`; `FormatError` for a number.
 * Source  tail(1).
 *
 * @module
 */
import { EXIT, type ExitCode, FormatError } from '@latchkey/shared';
import { type Io, printLine } from '../io.js';
import { type Item, type ManagementClient, openManagement } from '../management-client.js';
import {
  type EventOptions,
  eachEvent,
  newestEvents,
  queryOf,
  readState,
  toRecord,
} from './events.js';
import { formatEvent } from './view.js';

const LOOK_EVERY_MS = 1000;
/** An operator's token is good for longer than that. */
const NEW_TOKEN_EVERY_LOOKS = 300;

export interface TailOptions extends EventOptions {
  readonly lines: string;
  readonly follow?: boolean;
  readonly json?: boolean;
}

function parseLines(text: string): number {
  if (!/^(?:0|[1-9][0-9]{0,5})$/.test(text)) {
    throw new FormatError('--lines', 'must be a whole number up to 999999');
  }
  return Number(text);
}

const lastSequence = async (management: ManagementClient): Promise<number> =>
  (await readState(management)).lastSequence;

export async function tailEvents(options: TailOptions, io: Io): Promise<ExitCode> {
  const query = queryOf(options, io);
  const lines = parseLines(options.lines);
  let management = await openManagement(options, io);
  let seenTo = await lastSequence(management);
  const print = (event: Item): void => {
    seenTo = Math.max(seenTo, toRecord(event).sequence);
    printLine(io, options.json ? JSON.stringify(event) : formatEvent(event));
  };
  for (const event of await newestEvents(management, query, lines)) print(event);
  if (options.follow !== true) return EXIT.ok;
  for (let looks = 1; ; looks += 1) {
    await io.clock.sleep(LOOK_EVERY_MS, io.signal).catch(() => undefined);
    if (io.signal.aborted) return EXIT.ok;
    if (looks % NEW_TOKEN_EVERY_LOOKS === 0) management = await openManagement(options, io);
    const last = await lastSequence(management);
    const events = eachEvent(management, { ...query, since: undefined }, seenTo);
    for await (const event of events) print(event);
    seenTo = Math.max(seenTo, last);
  }
}
