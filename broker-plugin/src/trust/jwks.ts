/**
 * The public keys of one issuer, fetched from its key set, kept in memory and kept fresh.
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
  type Logger,
  UnavailableError,
  UnreachableError,
  type VerifyingAlgorithm,
} from '@latchkey/shared';
import { importKeySet, type KeySet, type KeySetKey } from './key-set.js';

export interface IssuerKeys {
  /**
   * The key with that id. An unknown id makes us look again, at most once in 30 s however many
   * ask; all who ask meanwhile share one fetch.
   */
  findKey(kid: string | undefined): KeySetKey | undefined | Promise<KeySetKey | undefined>;
  /** How many keys are at hand: none before the first fetch. */
  readonly size: number;
  /** Keeps the keys fresh until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
}

/** How often the keys are fetched when all is well. */
const REFRESH_MS = 600_000;
/** After a failure, while older keys still serve; and least time between looks for unknown ids. */
const RETRY_MS = 30_000;
/** After a failure, while there are no keys at all and nobody can connect. */
const EMPTY_RETRY_MS = 2_000;

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
}): IssuerKeys {
  const { issuer, locate, algorithms, http, clock, logger, onKeyRemoved } = deps;
  let keys: KeySet = new Map();
  let fetching: Promise<void> | undefined;
  let lastFetchMs: number | undefined;
  let hasFailed = false;

  const onIgnored = (detail: string): void => {
    logger.warn({ event: 'keys.ignored', issuer, detail }, 'a key of the issuer is not usable');
  };

  const fetchKeys = async (signal?: AbortSignal): Promise<void> => {
    const url = await locate(signal);
    const response = await http.request({ method: 'GET', url, ...(signal && { signal }) });
    if (response.status !== 200) throw new UnreachableError(`${url} answered ${response.status}`);
    const imported = importKeySet(response.body, { url, algorithms, known: keys, onIgnored });
    const kids = [...imported.keys()];
    if (kids.some((kid) => !keys.has(kid)) || kids.length !== keys.size) {
      logger.info({ event: 'keys.updated', issuer, kids }, 'keys of the issuer');
    }
    const isRemoved = [...keys].some(([kid, key]) => imported.get(kid)?.kid !== key.kid);
    keys = imported;
    if (isRemoved) onKeyRemoved?.();
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

  const isFetchedLately = (): boolean =>
    lastFetchMs !== undefined && Math.abs(clock.nowMs() - lastFetchMs) < RETRY_MS;

  const lookAgain = async (kid: string): Promise<KeySetKey | undefined> => {
    if (fetching !== undefined || !isFetchedLately()) await refresh();
    const key = keys.get(kid);
    if (key === undefined && hasFailed) {
      throw new UnavailableError('the keys of the issuer cannot be fetched');
    }
    return key;
  };

  return {
    findKey: (kid) => (kid === undefined ? undefined : (keys.get(kid) ?? lookAgain(kid))),
    get size() {
      return keys.size;
    },
    run: async (signal) => {
      while (!signal.aborted) {
        await refresh(signal);
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
