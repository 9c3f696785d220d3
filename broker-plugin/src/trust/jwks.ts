/**
 * The issuer's public keys, fetched by discovery, kept in memory and kept fresh.
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
  FormatError,
  type HttpClient,
  type Issuer,
  importPublicJwk,
  type Logger,
  type PublicKey,
  UnavailableError,
  UnreachableError,
} from '@latchkey/shared';
import * as v from 'valibot';

export interface IssuerKeys {
  /**
   * The key with that id. An unknown id makes us look again, at most once in 30 s however many
   * ask; all who ask meanwhile share one fetch.
   */
  findKey(kid: string | undefined): PublicKey | undefined | Promise<PublicKey | undefined>;
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
/** A set has a next, an active and a few retired keys. */
const MAX_KEYS = 32;

const jwksSchema = v.object({
  keys: v.pipe(v.array(v.looseObject({ kid: v.optional(v.string()) })), v.maxLength(MAX_KEYS)),
});
type Jwk = v.InferOutput<typeof jwksSchema>['keys'][number];

/** Whether a key is meant for other uses than verifying Ed25519, which is no fault. */
function isOther(jwk: Jwk): boolean {
  return jwk.kty !== 'OKP' || jwk.crv !== 'Ed25519' || (jwk.use ?? 'sig') !== 'sig';
}

export function createIssuerKeys(deps: {
  readonly issuer: Issuer;
  readonly http: HttpClient;
  readonly clock: Clock;
  readonly logger: Logger;
  /** A key is gone, or stands for another one now: what it signed is not to be trusted any more. */
  readonly onKeyRemoved?: () => void;
}): IssuerKeys {
  const { issuer, http, clock, logger, onKeyRemoved } = deps;
  let keys: ReadonlyMap<string, PublicKey> = new Map();
  let fetching: Promise<void> | undefined;
  let lastFetchMs: number | undefined;
  let hasFailed = false;

  const importKeys = (jwks: readonly Jwk[]): ReadonlyMap<string, PublicKey> => {
    const imported = new Map<string, PublicKey>();
    for (const jwk of jwks) {
      if (isOther(jwk)) continue;
      try {
        // The checks cost 3 ms, so a key that passed them before is not checked again.
        const known = [...keys.values()].find((key) => key.jwk.x === jwk.x && jwk.d === undefined);
        const key = known ?? importPublicJwk(jwk);
        const kid = jwk.kid ?? key.kid;
        if (!imported.has(kid)) imported.set(kid, key);
      } catch (error) {
        if (!(error instanceof FormatError)) throw error;
        const detail = error.message;
        logger.warn({ event: 'keys.ignored', issuer, detail }, 'a key of the issuer is not usable');
      }
    }
    return imported;
  };

  const fetchKeys = async (signal?: AbortSignal): Promise<void> => {
    const { jwks_uri: url } = await discover(http, issuer, signal);
    const response = await http.request({ method: 'GET', url, ...(signal && { signal }) });
    if (response.status !== 200) throw new UnreachableError(`${url} answered ${response.status}`);
    let jwks: readonly Jwk[];
    try {
      jwks = v.parse(jwksSchema, JSON.parse(response.body)).keys;
    } catch (cause) {
      throw new UnreachableError(`${url} is not a set of at most ${MAX_KEYS} keys`, { cause });
    }
    const imported = importKeys(jwks);
    // Nothing usable is a mistake of somebody, not an instruction to trust nobody.
    if (imported.size === 0) throw new UnreachableError(`${url} has no usable Ed25519 key`);
    const kids = [...imported.keys()];
    if (kids.some((kid) => !keys.has(kid)) || kids.length !== keys.size) {
      logger.info({ event: 'keys.updated', issuer, kids }, 'keys of the issuer');
    }
    const isRemoved = [...keys].some(([kid, key]) => imported.get(kid)?.jwk.x !== key.jwk.x);
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

  const lookAgain = async (kid: string): Promise<PublicKey | undefined> => {
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
