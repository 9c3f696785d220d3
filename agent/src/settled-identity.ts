/**
 * The identity of the state folder and the `[authority]` of the configuration, which have to agree.
 *
 * A device whose key was registered beforehand is enrolled by its configuration alone: issuer and client
 * id are pinned at the first start, together with the key that is there.
 *
 * Units   NumericDate.
 * Errors  `UsageError` with what to do: another issuer, another client id, or no key.
 * Source  STANDARDS 2.2 (the issuer is pinned at enrollment).
 *
 * @module
 */
import { type Clock, UsageError } from '@latchkey/shared';
import type { AuthorityConfig } from './config.js';
import { type Identity, readIdentity, refuseOther, writeIdentity } from './identity.js';
import { readKey } from './key-store.js';
import { checkStateDir } from './private-file.js';

async function enrollByConfig(
  stateDir: string,
  { issuer, clientId, tlsPins }: AuthorityConfig,
  clock: Clock,
): Promise<void> {
  if (issuer === undefined || clientId === undefined) return; // `openIdentity` says what is missing
  const key = await readKey(stateDir);
  if (key === undefined) {
    throw new UsageError(
      `${stateDir} has no key; run: latchkey-agent key create --state-dir ${stateDir}, ` +
        `and have it registered for ${clientId} at ${issuer}`,
    );
  }
  const { kid } = key.publicKey;
  await writeIdentity(stateDir, { issuer, clientId, kid, keySince: clock.now(), tlsPins });
}

/** Makes state folder and configuration agree, or refuses. */
export async function settleIdentity(
  stateDir: string,
  authority: AuthorityConfig,
  clock: Clock,
): Promise<void> {
  await checkStateDir(stateDir);
  const isSettled = (identity: Identity | undefined): boolean => {
    if (identity === undefined) return false;
    refuseOther(identity, authority, stateDir);
    const { tlsPins } = authority;
    return tlsPins.length === 0 || tlsPins.join() === identity.tlsPins?.join();
  };
  if (isSettled(await readIdentity(stateDir))) return;
  // Loaded here and not above: commands that only compare do without SQLite.
  const { lockStateDir } = await import('./state-lock.js');
  const lock = lockStateDir(stateDir, 'keyRotation'); // which writes the same file
  try {
    const identity = await readIdentity(stateDir);
    const { tlsPins } = authority;
    if (identity === undefined) await enrollByConfig(stateDir, authority, clock);
    else if (!isSettled(identity)) await writeIdentity(stateDir, { ...identity, tlsPins });
  } finally {
    lock.release();
  }
}
