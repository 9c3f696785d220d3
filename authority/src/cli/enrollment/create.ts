/**
 * `latchkey enrollment create`: prints a code, once.
 *
 * Units   `expires`: a duration such as 1h.
 * Errors  those of `openManagement`; `FormatError` for a duration or number.
 * Source  DESIGN 4 (Enrollment).
 *
 * @module
 */
import { EXIT, type ExitCode, FormatError, parseDuration } from '@latchkey/shared';
import { type Io, printJson, printLine, printNote } from '../io.js';
import { parseLabelOptions } from '../labels.js';
import { openManagement } from '../management-client.js';
import { instant, plain } from '../noun-view.js';
import type { ShowOptions } from '../show.js';
import { enrollmentView } from './view.js';

export interface CreateEnrollmentOptions extends ShowOptions {
  readonly clientId?: string;
  readonly idPattern?: string;
  readonly role?: readonly string[];
  readonly label?: readonly string[];
  readonly uses: string;
  readonly expires: string;
}

function parseUses(text: string): number {
  if (!/^[1-9][0-9]{0,6}$/.test(text)) throw new FormatError('--uses', 'must be a whole number');
  return Number(text);
}

export async function createEnrollment(
  options: CreateEnrollmentOptions,
  io: Io,
): Promise<ExitCode> {
  const { clientId, idPattern, role: roles = [], label = [], uses, expires } = options;
  const body = {
    ...(clientId !== undefined && { client_id: clientId }),
    ...(idPattern !== undefined && { id_pattern: idPattern }),
    roles,
    labels: parseLabelOptions(label),
    uses: parseUses(uses),
    expires_in_seconds: parseDuration(expires, '--expires'),
  };
  const management = await openManagement(options, io);
  const item = await management.post(enrollmentView.path, body);
  if (options.json) {
    printJson(io, item);
    return EXIT.ok;
  }
  const forWhom = clientId ?? `new devices ${plain('id_pattern')(item)}`;
  printNote(
    io,
    `code ${item.id} for ${forWhom}, uses: ${item.uses}, until ${instant('expires_at')(item)}; it is shown only now:`,
  );
  printLine(io, plain('enrollment_code')(item));
  return EXIT.ok;
}
