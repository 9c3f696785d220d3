/**
 * The key in use, which a rotation may replace at any moment, also one of another process: the daemon
 * looks before it signs for a token, and goes on with the new key.
 *
 * Units   none.
 * Errors  none: while the state folder cannot be read, the key that was read last stays in use.
 * Source  DESIGN 7 (signer is an interface); `key-rotation.ts`.
 *
 * @module
 */
import { statSync } from 'node:fs';
import type { Clock, HttpClient, Logger, Signer } from '@latchkey/shared';
import { type Identity, openIdentity, readIdentity } from './identity.js';
import { isRotationUnderWay, rotateKey } from './key-rotation.js';
import { runKeySchedule } from './key-schedule.js';
import { type KeyHolders, makeKeyAfter } from './key-store.js';
import { stateFile } from './private-file.js';
import type { TokenSource } from './token-source.js';

export interface CurrentKey {
  /** As it was when the agent started; issuer and client id never change. */
  readonly identity: Identity;
  /** Signs with whichever key is in use. */
  readonly signer: Signer;
  /** Takes up the key that the state folder names now. */
  refresh(): Promise<void>;
  /** Replaces the key when it is older than `days` (0: never), and ends a rotation that was begun. */
  keep(
    deps: {
      readonly http: HttpClient;
      readonly clock: Clock;
      readonly random: () => number;
      readonly days: number;
    },
    signal: AbortSignal,
  ): Promise<void>;
}

/** Opens an enrolled state folder, as `openIdentity` does. */
export async function openCurrentKey(deps: {
  readonly stateDir: string;
  readonly holders: KeyHolders;
  readonly logger: Logger;
}): Promise<CurrentKey> {
  const { stateDir, holders, logger } = deps;
  const path = stateFile(stateDir, 'identity');

  /** Tells one state of the file from the next, at the cost of a system call; it is replaced, never written. */
  const fingerprint = (): string => {
    const info = statSync(path, { throwIfNoEntry: false });
    return `${info?.ino} ${info?.ctimeMs}`;
  };

  let seen = fingerprint(); // before it is read: what changes from here on is noticed
  const { identity: pinned, signer } = await openIdentity(stateDir, holders);
  let current = signer;

  const look = async (): Promise<void> => {
    const identity = await readIdentity(stateDir);
    if (identity?.issuer !== pinned.issuer || identity.clientId !== pinned.clientId) {
      throw new Error('the state folder is of another device now; start the agent anew');
    }
    if (identity.kid === current.publicKey.kid) return;
    current = (await openIdentity(stateDir, holders)).signer;
    const { kid } = current.publicKey;
    logger.info({ event: 'key.replaced', kid }, 'goes on with the key that was rotated to');
  };

  return {
    identity: pinned,
    signer: {
      get alg() {
        return current.alg;
      },
      get publicKey() {
        return current.publicKey;
      },
      sign: (data) => current.sign(data),
    },
    refresh: async () => {
      try {
        const now = fingerprint();
        if (now === seen) return;
        await look();
        seen = now;
      } catch (error) {
        const detail = error instanceof Error ? error.message : String(error);
        logger.warn({ event: 'key.not-read', detail }, 'the key in use cannot be looked up');
      }
    },
    keep: ({ http, clock, random, days }, signal) => {
      const rotation = { ...holders, stateDir, http, clock, logger };
      return runKeySchedule(
        {
          readIdentity: () => readIdentity(stateDir),
          isUnderWay: () => isRotationUnderWay(stateDir),
          rotate: () => rotateKey(rotation, () => makeKeyAfter(stateDir)),
          ...{ days, clock, logger, random },
        },
        signal,
      );
    },
  };
}

/** The same tokens, each asked for with the key that is in use by then. */
export function withCurrentKey(tokens: TokenSource, key: CurrentKey): TokenSource {
  return {
    ...tokens,
    get: async (purpose) => {
      await key.refresh();
      return tokens.get(purpose);
    },
    renew: async (purpose) => {
      await key.refresh();
      return tokens.renew(purpose);
    },
  };
}
