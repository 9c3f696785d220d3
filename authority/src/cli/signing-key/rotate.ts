/**
 * `latchkey signing-key rotate`.
 *
 * Units   NumericDate.
 * Errors  those of `openManagement`.
 * Source  DESIGN 8.
 *
 * @module
 */
import { EXIT, type ExitCode, formatInstant } from '@latchkey/shared';
import * as v from 'valibot';
import { type ConfirmOptions, confirm } from '../confirm.js';
import { type Io, printJson, printLine, printNote } from '../io.js';
import { openManagement } from '../management-client.js';
import type { ShowOptions } from '../show.js';
import { formatTable } from '../table.js';
import { signingKeyView } from './view.js';

export interface RotateOptions extends ShowOptions, ConfirmOptions {
  /** After a leak: no key of before is trusted any more. */
  readonly now?: boolean;
}

const outcome = v.object({
  rotated: v.array(v.string()),
  postponed: v.array(v.object({ alg: v.string(), until: v.number() })),
  items: v.array(v.record(v.string(), v.unknown())),
});

export async function rotateSigningKeys(options: RotateOptions, io: Io): Promise<ExitCode> {
  const isUrgent = options.now === true;
  if (isUrgent) await confirm('make every token that was issued until now void', options, io);
  const management = await openManagement(options, io);
  const answer = await management.post(`${signingKeyView.path}/rotate`, { now: isUrgent });
  if (options.json) {
    printJson(io, answer);
    return EXIT.ok;
  }
  const { postponed, items } = v.parse(outcome, answer);
  for (const { alg, until } of postponed) {
    printNote(io, `${alg} was not rotated: its next key is too new until ${formatInstant(until)}`);
  }
  printLine(io, formatTable(signingKeyView, items, io.terminalWidth));
  return EXIT.ok;
}
