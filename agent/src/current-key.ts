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
import type { Clock, HttpClient, Logger, Signer } from '@latchkey/shared';
import { type Identity, openIdentity, readIdentity } from './identity.js';
import { isRotationUnderWay, rotateKey } from './key-rotation.js';
import { runKeySchedule } from './key-schedule.js';
import { type KeyHolders, makeKeyAfter } from './key-store.js';
import type { TokenSource } from './token-source.js';

export interface CurrentKey {
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

export function createCurrentKey(deps: {
  readonly stateDir: string;
  readonly holders: KeyHolders;
  readonly first: { readonly identity: Identity; readonly signer: Signer };
  readonly logger: Logger;
}): CurrentKey {
  const { stateDir, holders, first, logger } = deps;
  const { issuer, clientId } = first.identity;
  let current = first.signer;

  const look = async (): Promise<void> => {
    const identity = await readIdentity(stateDir);
    if (identity === undefined || identity.kid === current.publicKey.kid) return;
    if (identity.issuer !== issuer || identity.clientId !== clientId) {
      throw new Error('the state folder is of another device now; start the agent anew');
    }
    current = (await openIdentity(stateDir, holders)).signer;
    const { kid } = current.publicKey;
    logger.info({ event: 'key.replaced', kid }, 'goes on with the key that was rotated to');
  };

  return {
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
        await look();
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
