/**
 * What `createLatchkey` takes: who is trusted, and the bounds of what a client may use up.
 *
 * Units   bytes, milliseconds and seconds as the names say.
 * Errors  `FormatError` for issuer and audience, `RangeError` for a bound.
 * Source  STANDARDS 5.3 (1, 10, 19), 5.4; invariant I11.
 *
 * @module
 */
import type { Clock, HttpClient, Logger, Signer } from '@latchkey/shared';
import type { TokenPlace } from './authenticate.js';
import type { ProtectionOptions } from './protection-options.js';
import type { ClientTable } from './trust/client-table.js';
import type { ServiceInstances } from './trust/service-instances.js';
import type { ThirdPartyIssuerOptions } from './trust/third-party-issuer.js';

/** Bounds on what clients may send, and make the broker wait for or remember. */
export interface Limits {
  /** Largest CONNECT packet, header included. Default 16,384. */
  readonly connectBytes: number;
  /** Connections at once whose CONNECT is not decided yet. Default 5,000. */
  readonly pendingConnects: number;
  /** From the connection to its complete CONNECT. Default 10,000. */
  readonly connectTimeoutMs: number;
  /** For verifying one CONNECT or renewal, fetching keys and hooks of the host included. Default 5,000. */
  readonly authenticateTimeoutMs: number;
  /** Largest packet of an accepted session, without its fixed header. Default 262,144. */
  readonly packetBytes: number;
  /** Longest keep-alive; none at all (0) is never allowed. Default 65,535. */
  readonly maxKeepaliveSeconds: number;
  /** Topic filters in one SUBSCRIBE. Default 100. */
  readonly filtersPerSubscribe: number;
  /** Messages that wait for one client with a stored session. Default 1,000. */
  readonly queuedMessages: number;
  /** Verified tokens that are remembered until they expire. Default 10,000. */
  readonly knownTokens: number;
}

export const DEFAULT_LIMITS: Limits = Object.freeze({
  connectBytes: 16_384,
  pendingConnects: 5_000,
  connectTimeoutMs: 10_000,
  authenticateTimeoutMs: 5_000,
  packetBytes: 262_144,
  maxKeepaliveSeconds: 65_535,
  filtersPerSubscribe: 100,
  queuedMessages: 1_000,
  knownTokens: 10_000,
});

/** Highest value of each limit; the lowest is 1. */
export const LIMIT_BOUNDS: Limits = Object.freeze({
  connectBytes: 65_536,
  pendingConnects: 1_000_000,
  connectTimeoutMs: 300_000,
  authenticateTimeoutMs: 60_000,
  packetBytes: 268_435_455,
  maxKeepaliveSeconds: 65_535,
  filtersPerSubscribe: 10_000,
  queuedMessages: 1_000_000,
  knownTokens: 1_000_000,
});

/** The first is the default. */
export const TOKEN_PLACES: readonly [TokenPlace, ...TokenPlace[]] = ['password', 'username'];
/** The first is the default. */
export const SERVICE_INSTANCES: readonly [ServiceInstances, ...ServiceInstances[]] = [
  'feed',
  'never',
  'any',
];

interface FeedOptionsBase {
  /**
   * Client id of this broker at the authority: a service with the scope `feed:read` at
   * `<issuer>/api`.
   */
  readonly clientId: string;
}

/** How the broker follows the authority's trust feed. Needs a `stateFile`. */
export type FeedOptions =
  | (FeedOptionsBase & {
      /** Signs for the broker. */
      readonly signer: Signer;
      readonly keyFile?: undefined;
    })
  | (FeedOptionsBase & {
      readonly signer?: undefined;
      /** The broker's Ed25519 key, PKCS#8 in PEM, readable by its owner alone. */
      readonly keyFile: string;
    });

export interface LatchkeyOptions {
  /**
   * Issuer identifier of the authority, such as `https://id.example`. May be left out when there is a
   * third party.
   */
  readonly issuer?: string | undefined;
  /** Other authorization servers whose tokens are accepted; at most 16. Default: none. */
  readonly thirdPartyIssuers?: readonly ThirdPartyIssuerOptions[];
  /** Own identifier, such as `mqtts://broker.example`: tokens for any other resource are refused. */
  readonly audience: string;
  /** Default: the machine's clock. */
  readonly clock?: Clock;
  /** Default: no log. A pino logger is one. */
  readonly logger?: Logger;
  /** For fetching keys of issuers. Default: at most 64 KiB, 4 s, no redirects. */
  readonly http?: HttpClient;
  /** PEM of the certificate authorities to trust for the issuer instead of the system's. */
  readonly issuerCa?: string;
  /**
   * File for copies of issuers' keys and of the trust feed, so that a restart does not need the
   * authority. Made when it is not there; of this broker alone. Default: copies in memory.
   */
  readonly stateFile?: string;
  /**
   * What the broker follows to know the authority's clients. Default: no feed, unless `clients` says
   * more; then a revocation takes effect when the token expires.
   */
  readonly feed?: FeedOptions;
  readonly limits?: Partial<Limits>;
  /**
   * Default `password`, with the client id as user name. `username` is for clients that can send
   * nothing else; then the password must be empty.
   */
  readonly tokenIn?: TokenPlace;
  /**
   * First levels of topics that begin with `$` and are open to clients whose entries begin with that
   * very level, such as `$app`; at most 16. Those of brokers (`$SYS`, `$share`, `$queue` …) never are.
   * Default: none.
   */
  readonly dollarTopics?: readonly string[];
  /**
   * Who may connect several times at once, as `client_id@instance`: `feed`, the default, those whom
   * the trust feed calls services, and so nobody without a feed; `any` client; or `never`.
   */
  readonly serviceInstances?: ServiceInstances;
  /**
   * For how long after its token a session lives on, for clients that renew late: until then it may do
   * all that it might before, and renew. Nobody connects with an expired token. 0 to 300; default 0.
   */
  readonly graceSeconds?: number;
  /** How often one address may connect and fail. */
  readonly protection?: Partial<ProtectionOptions>;
  /**
   * What is known of the authority's clients. With it, a client that is revoked or changed is so here
   * within a second, and clients may mint tokens. Default: only what tokens say is known.
   */
  readonly clients?: ClientTable;
  /**
   * For how long after the last word of the authority minted tokens are still taken. Default 3,600.
   */
  readonly maxStalenessSeconds?: number;
}

/** Default and highest value of `maxStalenessSeconds`; the lowest is 1. */
export const MAX_STALENESS_SECONDS = { standard: 3600, most: 604_800 } as const;

/** The default, or the value within its bounds. */
export function resolveMaxStaleness(seconds: number = MAX_STALENESS_SECONDS.standard): number {
  if (Number.isInteger(seconds) && seconds >= 1 && seconds <= MAX_STALENESS_SECONDS.most) {
    return seconds;
  }
  throw new RangeError(
    `maxStalenessSeconds must be an integer from 1 to ${MAX_STALENESS_SECONDS.most}`,
  );
}

/** Fills in the defaults and checks the bounds. */
export function resolveLimits(limits: Partial<Limits> = {}): Limits {
  const resolved = { ...DEFAULT_LIMITS, ...limits };
  for (const name of Object.keys(DEFAULT_LIMITS) as (keyof Limits)[]) {
    const value = resolved[name];
    if (!Number.isInteger(value) || value < 1 || value > LIMIT_BOUNDS[name]) {
      throw new RangeError(`limits.${name} must be an integer from 1 to ${LIMIT_BOUNDS[name]}`);
    }
  }
  return Object.freeze(resolved);
}

/** One of the names, or the first of them. */
export function resolveChoice<Name extends string>(
  field: string,
  names: readonly [Name, ...Name[]],
  value: Name = names[0],
): Name {
  if (names.includes(value)) return value;
  throw new RangeError(`${field} must be one of ${names.join(', ')}`);
}
