/**
 * The public keys of one issuer, fetched from its key set, kept in memory and kept fresh.
 *
 * A copy on disk serves while the issuer does not answer. Where the trust feed says which keys are
 * valid, its word counts: the key set, which caches may hold back, can only add what is new.
 *
 * Units   milliseconds where a name says so.
 * Errors  `UnavailableError` when the key asked for may exist and cannot be had now.
 * Source  RFC 8414 3, RFC 7517 5; STANDARDS 3.9, 6 (18: outage, flood of unknown key ids).
 *
 * @module
 */
import {
  type Clock,
  discover,
  type HttpClient,
  type Issuer,
  type IssuerKey,
  isSameAlgorithm,
  type Logger,
  UnavailableError,
  UnreachableError,
  type VerifyingAlgorithm,
} from '@latchkey/shared';
import type { KeyCopies } from './key-copies.js';
import { importKeySet, type KeySet, type KeySetKey } from './key-set.js';

export interface IssuerKeys {
  /**
   * The key with that id. An unknown id makes us look again, at most once in 30 s however many
   * ask; all who ask meanwhile share one fetch.
   */
  findKey(kid: string | undefined): KeySetKey | undefined | Promise<KeySetKey | undefined>;
  /** The same for a page of the trust feed, which only the issuer sends: looks again once a second. */
  findPageKey(kid: string): KeySetKey | undefined | Promise<KeySetKey | undefined>;
  /** Whether that key is at hand and valid now. */
  has(kid: string): boolean;
  /** How many keys are at hand: none before the first fetch, unless there is a copy. */
  readonly size: number;
  /** Takes over the keys that the trust feed says are all. */
  adopt(all: readonly IssuerKey[]): void;
  /** Keeps the keys fresh until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
}

/** How often the keys are fetched when all is well. */
const REFRESH_MS = 600_000;
/** After a failure, while older keys still serve; and least time between looks for unknown ids. */
const RETRY_MS = 30_000;
const PAGE_RETRY_MS = 1_000;
/** After a failure, while there are no keys at all and nobody can connect. */
const EMPTY_RETRY_MS = 2_000;
/** So long the feed's last word counts more than the key set: three times its longest silence. */
const FED_MS = 90_000;

/** Says where the key set is. Rejects with `UnreachableError`. */
export type LocateKeySet = (signal?: AbortSignal) => Promise<string>;

/** As the metadata of our own authority say it. */
export function createMetadataLocator(http: HttpClient, issuer: Issuer): LocateKeySet {
  return async (signal) => (await discover(http, issuer, signal)).jwks_uri;
}

export function createIssuerKeys(deps: {
  /** For the log. */
  readonly issuer: string;
  readonly locate: LocateKeySet;
  /** What its tokens may be signed with; keys for anything else are left out. */
  readonly algorithms: readonly VerifyingAlgorithm[];
  readonly http: HttpClient;
  readonly clock: Clock;
  readonly logger: Logger;
  /** A key is gone, or stands for another one now: what it signed is not to be trusted any more. */
  readonly onKeyRemoved?: () => void;
  /** Where the keys are kept for the next start; default: nowhere. */
  readonly copies?: Pick<KeyCopies, 'load' | 'save' | 'isDropped'> | undefined;
}): IssuerKeys {
  const { issuer, locate, algorithms, http, clock, logger, onKeyRemoved, copies } = deps;
  let fetching: Promise<void> | undefined;
  let lastFetchMs: number | undefined;
  let lastFedMs: number | undefined;
  let hasFailed = false;

  const onIgnored = (detail: string): void => {
    logger.warn({ event: 'keys.ignored', issuer, detail }, 'a key of the issuer is not usable');
  };

  const loadCopy = (): KeySet => {
    const saved = copies?.load(issuer) ?? [];
    if (saved.length === 0) return new Map();
    const body = JSON.stringify({ keys: saved });
    try {
      return importKeySet(body, { url: 'the copy', algorithms, known: new Map(), onIgnored });
    } catch (error) {
      if (!(error instanceof UnreachableError)) throw error;
      return new Map(); // of an issuer that had other algorithms
    }
  };
  let keys: KeySet = loadCopy();

  const isWithin = (ms: number, sinceMs: number | undefined): boolean =>
    sinceMs !== undefined && Math.abs(clock.nowMs() - sinceMs) < ms;
  const isFed = (): boolean => isWithin(FED_MS, lastFedMs);

  const take = (next: KeySet): void => {
    const kids = [...next.keys()];
    if (kids.some((kid) => !keys.has(kid)) || kids.length !== keys.size) {
      logger.info({ event: 'keys.updated', issuer, kids }, 'keys of the issuer');
    }
    const isRemoved = [...keys].some(([kid, key]) => next.get(kid)?.kid !== key.kid);
    keys = next;
    if (isRemoved) onKeyRemoved?.();
  };

  const save = (): void => {
    const all = [...keys].map(([kid, { alg, jwk }]) => ({ ...jwk, kid, alg }));
    try {
      copies?.save(issuer, all, clock.now());
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      const fields = { event: 'keys.not-saved', issuer, detail };
      logger.warn(fields, 'keys of the issuer cannot be saved for the next start');
    }
  };

  const fetchKeys = async (signal?: AbortSignal): Promise<void> => {
    const url = await locate(signal);
    const response = await http.request({ method: 'GET', url, ...(signal && { signal }) });
    if (response.status !== 200) throw new UnreachableError(`${url} answered ${response.status}`);
    const imported = importKeySet(response.body, { url, algorithms, known: keys, onIgnored });
    const valid = [...imported].filter(([, key]) => copies?.isDropped(key.kid) !== true);
    if (valid.length === 0) throw new UnreachableError(`${url} is older than the trust feed`);
    take(new Map([...valid, ...(isFed() ? keys : [])]));
    save();
  };

  /** Fetches once, or joins the fetch under way. A failure keeps the keys that are there. */
  const refresh = (signal?: AbortSignal): Promise<void> => {
    fetching ??= fetchKeys(signal)
      .then(
        () => {
          hasFailed = false;
        },
        (error: unknown) => {
          if (signal?.aborted) return;
          const detail = error instanceof Error ? error.message : String(error);
          const fields = { event: 'keys.unavailable', issuer, detail, keptKeys: keys.size };
          // An outage is one line, not one for each attempt.
          const level = hasFailed ? 'debug' : 'warn';
          logger[level](fields, 'keys of the issuer cannot be fetched');
          hasFailed = true;
        },
      )
      .finally(() => {
        lastFetchMs = clock.nowMs();
        fetching = undefined;
      });
    return fetching;
  };

  const find = (kid: string, leastMs: number) => {
    // A copy serves once the issuer was asked: a key that it took back must not live on in it.
    const key = lastFetchMs === undefined ? undefined : keys.get(kid);
    return key ?? lookAgain(kid, leastMs);
  };

  const lookAgain = async (kid: string, leastMs: number): Promise<KeySetKey | undefined> => {
    if (fetching !== undefined || !isWithin(leastMs, lastFetchMs)) await refresh();
    const key = keys.get(kid);
    if (key === undefined && hasFailed) {
      throw new UnavailableError('the keys of the issuer cannot be fetched');
    }
    return key;
  };

  return {
    findKey: (kid) => (kid === undefined ? undefined : find(kid, RETRY_MS)),
    findPageKey: (kid) => find(kid, PAGE_RETRY_MS),
    has: (kid) => keys.has(kid),
    get size() {
      return keys.size;
    },
    adopt: (all) => {
      const usable = all.filter(({ alg }) => algorithms.some((own) => isSameAlgorithm(own, alg)));
      lastFedMs = clock.nowMs();
      take(new Map(usable.map((key) => [key.kid, key])));
    },
    run: async (signal) => {
      while (!signal.aborted) {
        if (!isFed()) await refresh(signal);
        const failedMs = keys.size === 0 ? EMPTY_RETRY_MS : RETRY_MS;
        try {
          await clock.sleep(hasFailed ? failedMs : REFRESH_MS, signal);
        } catch {
          return; // aborted
        }
      }
    },
  };
}
