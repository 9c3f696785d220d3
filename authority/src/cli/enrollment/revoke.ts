/**
 * `latchkey enrollment revoke <id>`.
 *
 * Units   none.
 * Errors  those of `confirm` and `openManagement`.
 * Source  DESIGN 4 (Enrollment).
 *
 * @module
 */
import type { ExitCode } from '@latchkey/shared';
import { changeItem } from '../change.js';
import { type ConfirmOptions, confirm } from '../confirm.js';
import type { Io } from '../io.js';
import { itemPath } from '../management-client.js';
import type { ShowOptions } from '../show.js';
import { enrollmentView } from './view.js';

export interface RevokeEnrollmentOptions extends ShowOptions, ConfirmOptions {}

export async function revokeEnrollment(
  id: string,
  options: RevokeEnrollmentOptions,
  io: Io,
): Promise<ExitCode> {
  await confirm(`revoke the enrollment code ${id}`, options, io);
  const path = `${itemPath(enrollmentView.path, id)}/revoke`;
  return changeItem(enrollmentView, ({ post }) => post(path), options, io);
}
