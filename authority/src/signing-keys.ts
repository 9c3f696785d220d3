/**
 * The keys that sign tokens and feed pages: which one signs, which ones verify, and their rotation.
 *
 * The registry is asked each time, so that a rotation holds at once in every process that serves it.
 * A private key is durable before the registry knows of it: a crash in between leaves a key that
 * nobody uses, and never an active key that nobody has.
 *
 * Units   NumericDate; durations in seconds.
 * Errors  `ConflictError` when a rotation has to wait; `UnavailableError` when a key cannot be used
 *         now; `ConfigError` from `check`.
 * Source  DESIGN 5 and 8; RFC 7517 (JWK set).
 *
 * @module
 */
import {
  type Clock,
  ConfigError,
  formatInstant,
  type IssuerKey,
  type IssuerSigner,
  importIssuerJwk,
  type Kid,
  type Logger,
  type NumericDate,
  type TokenAlgorithm,
  UnavailableError,
} from '@latchkey/shared';
import { ConflictError } from './registry/registry.js';
import type { SigningKey, SigningKeyStore } from './registry/signing-key-store.js';
import type { KeyHolder } from './signing/key-holder.js';
import {
  algorithmsOf,
  findKey,
  firstActive,
  forgettable,
  isPublished,
  nextInLine,
  readyAt,
  replaced,
  rotated,
} from './signing/rotation.js';

/** Algorithm that tokens have unless their resource says otherwise, and that feed pages have. */
export const DEFAULT_ALGORITHM = 'EdDSA';

export interface RotationOutcome {
  readonly rotated: readonly TokenAlgorithm[];
  /** Algorithms whose next key is too new, and when that is over. */
  readonly postponed: readonly { readonly alg: TokenAlgorithm; readonly until: NumericDate }[];
}

export interface SigningKeys {
  /** Signs with the active key of that algorithm, which is made when it is first asked for. */
  signerFor(alg: TokenAlgorithm): Promise<IssuerSigner>;
  /** What verifiers may trust now: next, active, and retired keys while their tokens live. */
  published(): Promise<readonly IssuerKey[]>;
  /** The published key of that id. */
  find(kid: string | undefined): Promise<IssuerKey | undefined>;
  /** All keys, also those that nobody trusts any more. */
  list(): Promise<readonly SigningKey[]>;
  /**
   * Rotates every algorithm in use. With `now` no key of before is trusted any more from this moment;
   * without, the next key takes over and the old one goes on verifying.
   */
  rotate(options: { readonly now: boolean }): Promise<RotationOutcome>;
  /** Rotates algorithms whose active key has signed for that long, if they are ready. */
  rotateOlderThan(ageSeconds: number): Promise<RotationOutcome>;
  /** Makes what is missing: the first keys, and the next one of each algorithm. */
  complete(): Promise<void>;
  /** Opens every key that signs or will sign. */
  check(): Promise<void>;
}

/** Attempts of a change that other processes may get ahead of. */
const MAX_ATTEMPTS = 8;

const isRetired = ({ status }: SigningKey): boolean => status === 'retired';

interface Plan {
  readonly put: readonly SigningKey[];
  /** Signers of new keys among `put`. */
  readonly made: readonly IssuerSigner[];
}

export function createSigningKeys(deps: {
  readonly registry: SigningKeyStore;
  readonly holder: KeyHolder;
  readonly clock: Clock;
  readonly logger: Logger;
}): SigningKeys {
  const { registry, holder, clock, logger } = deps;
  const signers = new Map<Kid, IssuerSigner>();
  const imported = new Map<Kid, IssuerKey>();
  /** One change at a time in this process; other processes are met in the registry. */
  let changing: Promise<unknown> = Promise.resolve();

  const inTurn = <Result>(work: () => Promise<Result>): Promise<Result> => {
    const result = changing.then(work);
    changing = result.catch(() => undefined);
    return result;
  };

  const toPublicKey = ({ kid, alg, jwk }: SigningKey): IssuerKey => {
    const known = imported.get(kid);
    if (known !== undefined) return known;
    const key = importIssuerJwk(alg, jwk);
    imported.set(kid, key);
    return key;
  };

  /** Forgets keys that are gone, so that years of rotation do not add up. */
  const forget = (kids: readonly Kid[]): void => {
    for (const kid of kids) {
      signers.delete(kid);
      imported.delete(kid);
    }
  };

  const signerOf = async ({ kid, alg }: SigningKey): Promise<IssuerSigner> => {
    const known = signers.get(kid);
    if (known !== undefined) return known;
    const signer = await holder.open(kid, alg);
    signers.set(kid, signer);
    return signer;
  };

  /** Plans on the present state and commits, until nobody came in between. */
  const change = async (plan: (seen: readonly SigningKey[]) => Promise<Plan | undefined>) => {
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
      const seen = await registry.signingKeys();
      const planned = await plan(seen);
      if (planned === undefined) return;
      const { put, made } = planned;
      const old = forgettable(seen, clock.now()).map(({ kid }) => kid);
      if (await registry.changeSigningKeys({ seen, put, remove: old })) {
        for (const signer of made) signers.set(signer.publicKey.kid, signer);
        const retired = put.filter(isRetired).map(({ kid }) => kid);
        for (const kid of retired) await holder.discard(kid);
        forget([...retired, ...old]);
        return;
      }
      for (const { publicKey } of made) await holder.discard(publicKey.kid);
    }
    throw new UnavailableError('the signing keys are being changed by others: try again');
  };

  const completeAlg = (alg: TokenAlgorithm) =>
    change(async (keys) => {
      const made: IssuerSigner[] = [];
      const put: SigningKey[] = [];
      const add = async (toKey: typeof nextInLine) => {
        const signer = await holder.create(alg);
        made.push(signer);
        put.push(toKey(signer.publicKey, clock.now()));
      };
      if (findKey(keys, alg, 'active') === undefined) await add(firstActive);
      if (findKey(keys, alg, 'next') === undefined) await add(nextInLine);
      return put.length === 0 ? undefined : { put, made };
    });

  const announce = (outcome: RotationOutcome, isUrgent: boolean): RotationOutcome => {
    const { rotated: algorithms } = outcome;
    if (algorithms.length > 0) {
      logger.info({ event: 'signing-key.rotated', algorithms, isUrgent }, 'signing keys rotated');
    }
    return outcome;
  };

  const rotateReady = (isDue: (active: SigningKey) => boolean): Promise<RotationOutcome> =>
    inTurn(async () => {
      let outcome: RotationOutcome = { rotated: [], postponed: [] };
      await change(async (keys) => {
        const now = clock.now();
        const due = algorithmsOf(keys).filter((alg) =>
          isDue(findKey(keys, alg, 'active') as SigningKey),
        );
        const waits = due.map((alg) => ({ alg, until: readyAt(keys, alg, now) }));
        const ready = waits.filter(({ until }) => until <= now).map(({ alg }) => alg);
        outcome = { rotated: ready, postponed: waits.filter(({ until }) => until > now) };
        if (ready.length === 0) return undefined;
        const made = await Promise.all(ready.map((alg) => holder.create(alg)));
        const put = made.flatMap(({ alg, publicKey }) => {
          const inUse = {
            active: findKey(keys, alg, 'active') as SigningKey,
            next: findKey(keys, alg, 'next') as SigningKey,
          };
          return rotated(inUse, publicKey, now);
        });
        return { put, made };
      });
      return announce(outcome, false);
    });

  const replaceAll = (): Promise<RotationOutcome> =>
    inTurn(async () => {
      let algorithms: readonly TokenAlgorithm[] = [];
      await change(async (keys) => {
        algorithms = algorithmsOf(keys);
        const pairs = await Promise.all(
          algorithms.map(
            async (alg) => [await holder.create(alg), await holder.create(alg)] as const,
          ),
        );
        const now = clock.now();
        const put = pairs.flatMap(([active, next]) =>
          replaced(keys, active.alg, { active: active.publicKey, next: next.publicKey }, now),
        );
        return { put, made: pairs.flat() };
      });
      return announce({ rotated: algorithms, postponed: [] }, true);
    });

  const rotateNormally = async (): Promise<RotationOutcome> => {
    const outcome = await rotateReady(() => true);
    if (outcome.rotated.length > 0) return outcome;
    const until = Math.min(...outcome.postponed.map((wait) => wait.until));
    throw new ConflictError(
      'signing key',
      `cannot be rotated before ${formatInstant(until)}: verifiers have to learn of the next key first; for a leaked key use --now, or "now": true in the API`,
    );
  };

  const published = async () => {
    const now = clock.now();
    return (await registry.signingKeys()).filter((key) => isPublished(key, now));
  };

  return {
    signerFor: async (alg) => {
      const active = async () => findKey(await registry.signingKeys(), alg, 'active');
      let key = await active();
      if (key === undefined) {
        await inTurn(() => completeAlg(alg));
        key = (await active()) as SigningKey;
      }
      try {
        return await signerOf(key);
      } catch (cause) {
        throw new UnavailableError('the signing key cannot be used now', {
          detail: (cause as Error).message,
          cause,
        });
      }
    },
    published: async () => (await published()).map(toPublicKey),
    find: async (kid) => {
      const key = (await published()).find((candidate) => candidate.kid === kid);
      return key && toPublicKey(key);
    },
    list: () => registry.signingKeys(),
    rotate: ({ now }) => (now ? replaceAll() : rotateNormally()),
    rotateOlderThan: (ageSeconds) => {
      const latest = clock.now() - ageSeconds;
      return rotateReady(({ activatedAt }) => (activatedAt as NumericDate) <= latest);
    },
    complete: () =>
      inTurn(async () => {
        const keys = await registry.signingKeys();
        // A crash may have come between a key's end and that of its private half.
        for (const { kid } of keys.filter(isRetired)) await holder.discard(kid);
        for (const alg of new Set([DEFAULT_ALGORITHM as TokenAlgorithm, ...algorithmsOf(keys)])) {
          await completeAlg(alg);
        }
      }),
    check: async () => {
      const keys = await registry.signingKeys();
      if (findKey(keys, DEFAULT_ALGORITHM, 'active') === undefined) {
        throw new ConfigError('registry', [{ path: 'signing_key', message: 'none is active' }]);
      }
      for (const key of keys) if (!isRetired(key)) await signerOf(key);
    },
  };
}
