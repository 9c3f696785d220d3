/**
 * Whether a file that holds a secret is for its owner alone.
 *
 * Units   POSIX modes.
 * Errors  none.
 * Source  STYLE 2.6; systemd.exec(5) `LoadCredential=`: its files belong to root, and one user may read them by an
 *         access control list, which shows as a right of the group.
 *
 * @module
 */
import { resolve } from 'node:path';

const GROUP_AND_OTHERS = 0o077;
const GROUP_READS = 0o040;
/** Only the user of the service can enter the directory of its credentials. */
const CREDENTIALS = '/run/credentials/';

export function isPrivateMode(path: string, mode: number): boolean {
  const rights = mode & GROUP_AND_OTHERS;
  return rights === 0 || (rights === GROUP_READS && resolve(path).startsWith(CREDENTIALS));
}
