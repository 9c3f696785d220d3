/**
 * `latchkey audit list` and `latchkey audit export`.
 *
 * Units   none.
 * Errors  those of `openManagement`.
 * Source  STYLE 2.10.
 *
 * @module
 */
import { EXIT, type ExitCode } from '@latchkey/shared';
import { type Io, printJson, printLine, printNote } from '../io.js';
import { type Item, openManagement } from '../management-client.js';
import { type EventOptions, eachEvent, queryOf } from './events.js';
import { formatEvent } from './view.js';

/** Events after which a long export says how far it is. */
export const PROGRESS_EVERY = 50_000;

export interface ListEventsOptions extends EventOptions {
  readonly json?: boolean;
}

export async function listEvents(options: ListEventsOptions, io: Io): Promise<ExitCode> {
  const query = queryOf(options, io);
  const management = await openManagement(options, io);
  const items: Item[] = [];
  let count = 0;
  for await (const event of eachEvent(management, query)) {
    count += 1;
    if (options.json) items.push(event);
    else printLine(io, formatEvent(event));
  }
  if (options.json) printJson(io, items);
  else if (count === 0) printNote(io, 'there is no such event');
  return EXIT.ok;
}

/** One JSON object a line, as other programs read them. */
export async function exportEvents(options: EventOptions, io: Io): Promise<ExitCode> {
  const query = queryOf(options, io);
  const management = await openManagement(options, io);
  let count = 0;
  for await (const event of eachEvent(management, query)) {
    printLine(io, JSON.stringify(event));
    count += 1;
    if (count % PROGRESS_EVERY === 0) printNote(io, `${count} events`);
  }
  printNote(io, `exported ${count} ${count === 1 ? 'event' : 'events'}`);
  return EXIT.ok;
}
