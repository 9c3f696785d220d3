/**
 * Checks what a change is conditional on; called inside the change's transaction.
 *
 * Units   none.
 * Errors  `VersionError`.
 * Source  RFC 9110 13.1.1.
 *
 * @module
 */
import { type Condition, VersionError } from '../lifecycle.js';

export function checkVersion(version: number, condition: Condition | undefined): void {
  if (condition?.versions?.includes(version) === false) throw new VersionError();
}
