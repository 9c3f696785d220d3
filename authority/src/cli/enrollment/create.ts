/**
 * `latchkey enrollment create`: prints a code, once.
 *
 * Units   `expires`: a duration such as 1h.
 * Errors  those of `openManagement`; `FormatError` for a duration or number.
 * Source  DESIGN 4 (Enrollment).
 *
 * @module
 */
import { existsSync } from 'node:fs';
import {
  EXIT,
  type ExitCode,
  FormatError,
  formatEnrollmentUri,
  parseDuration,
  UsageError,
} from '@latchkey/shared';
import { type Io, printJson, printLine, printNote } from '../io.js';
import { parseLabelOptions } from '../labels.js';
import { openManagement } from '../management-client.js';
import { instant, plain } from '../noun-view.js';
import type { ShowOptions } from '../show.js';
import { formatQr, writeQrPng } from './qr.js';
import { enrollmentView } from './view.js';

export interface CreateEnrollmentOptions extends ShowOptions {
  readonly clientId?: string;
  readonly idPattern?: string;
  readonly role?: readonly string[];
  readonly label?: readonly string[];
  readonly uses: string;
  readonly expires: string;
  /** Prints a QR code as well. */
  readonly qr?: boolean;
  /** Where a QR code goes as a PNG. */
  readonly png?: string;
}

function parseUses(text: string): number {
  if (!/^[1-9][0-9]{0,6}$/.test(text)) throw new FormatError('--uses', 'must be a whole number');
  return Number(text);
}

export async function createEnrollment(
  options: CreateEnrollmentOptions,
  io: Io,
): Promise<ExitCode> {
  const { clientId, idPattern, role: roles = [], label = [], uses, expires, qr, png } = options;
  const body = {
    ...(clientId !== undefined && { client_id: clientId }),
    ...(idPattern !== undefined && { id_pattern: idPattern }),
    roles,
    labels: parseLabelOptions(label),
    uses: parseUses(uses),
    expires_in_seconds: parseDuration(expires, '--expires'),
  };
  // Before the code is made, which is shown only once.
  if (png !== undefined && existsSync(png)) throw new UsageError(`--png: ${png} is there already`);
  const management = await openManagement(options, io);
  const item = await management.post(enrollmentView.path, body);
  const { issuer } = management;
  const uri = formatEnrollmentUri({ issuer, code: plain('enrollment_code')(item) });
  if (options.json) {
    printJson(io, item);
    if (png !== undefined) writeQrPng(uri, png);
    return EXIT.ok;
  }
  const forWhom = clientId ?? `new devices ${plain('id_pattern')(item)}`;
  printNote(
    io,
    `code ${item.id} for ${forWhom}, uses: ${item.uses}, until ${instant('expires_at')(item)}; it is shown only now:`,
  );
  printLine(io, plain('enrollment_code')(item));
  if (qr) printLine(io, formatQr(uri));
  if (png !== undefined) writeQrPng(uri, png);
  return EXIT.ok;
}
