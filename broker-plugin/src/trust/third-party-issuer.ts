/**
 * What an operator says about another authorization server whose tokens are accepted.
 *
 * Units   lifetimes in seconds, lengths in characters.
 * Errors  `FormatError`, its field the option's name as in a configuration file.
 * Source  DESIGN 4 (third-party issuers), 9 (I7, I11); RFC 8414 2, RFC 8725 3.1, 3.9.
 *
 * @module
 */
import {
  FormatError,
  type Issuer,
  isLoopbackHost,
  mintingPrefix,
  parseIssuer,
  THIRD_PARTY_TOKEN_TYPES,
  type ThirdPartyTokenRules,
  type ThirdPartyTokenType,
  TOKEN_MAX_LIFETIME_SECONDS,
  VERIFYING_ALGORITHMS,
  type VerifyingAlgorithm,
} from '@latchkey/shared';
import { type ClaimPath, parseClaimPath } from './claim-path.js';
import { parseScopeAliases, type ScopeAliases } from './scope-aliases.js';

export interface ThirdPartyIssuerOptions {
  /** Short name, `[a-z][a-z0-9-]{0,15}`: in the log, and in front of its client ids. */
  readonly name: string;
  /** `iss` of its tokens, letter by letter, a slash at the end included. */
  readonly issuer: string;
  /** Where its keys are. Default: found through its metadata (RFC 8414, OpenID Connect Discovery). */
  readonly jwksUri?: string | undefined;
  /** PEM of the certificate authorities to trust for it instead of the system's. */
  readonly ca?: string | undefined;
  /** What `aud` must be or contain. Default: the broker's own identifier. */
  readonly audience?: string | undefined;
  /** What its tokens may be signed with; at least one. */
  readonly algorithms: readonly VerifyingAlgorithm[];
  /** `typ` of the header. Default `at+jwt` alone. */
  readonly types?: readonly ThirdPartyTokenType[] | undefined;
  /** Claim with the scopes: text with blanks, or a list. Default `scope`. */
  readonly scopeClaim?: ClaimPath | undefined;
  /** Claim with the client id. Default `client_id`. */
  readonly clientIdClaim?: ClaimPath | undefined;
  /** Put in front of its client ids; ends in a colon. Default: the name and a colon. */
  readonly clientIdPrefix?: string | undefined;
  /** What its scope values mean here: topic scopes, in which `{client_id}` is the id with its prefix. */
  readonly scopeAliases?: Readonly<Record<string, readonly string[]>> | undefined;
  /** Whether topic scopes in its tokens count as they stand. Default false. */
  readonly acceptTopicScopes?: boolean | undefined;
  /** Claims that must have exactly these values, such as `{ gty: 'client-credentials' }`. */
  readonly requiredClaims?: Readonly<Record<string, string>> | undefined;
  /** Longest time from `iat` to `exp`. Default 86,400; at most 30 days. */
  readonly maxTokenLifetimeSeconds?: number | undefined;
}

/** The same, checked and filled in. */
export interface ThirdPartyIssuer extends ThirdPartyTokenRules {
  readonly name: string;
  readonly jwksUri: string | undefined;
  readonly ca: string | undefined;
  readonly scopeClaim: readonly string[];
  readonly clientIdClaim: readonly string[];
  readonly clientIdPrefix: string;
  readonly scopeAliases: ScopeAliases;
  readonly acceptTopicScopes: boolean;
}

export const MAX_THIRD_PARTY_LIFETIME_SECONDS = 2_592_000;
const MAX_REQUIRED_CLAIMS = 16;
const MAX_LENGTH = 255;

export function parseThirdPartyName(value: string, field = 'name'): string {
  if (/^[a-z][a-z0-9-]{0,15}$/.test(value)) return value;
  throw new FormatError(field, 'must be 1 to 16 characters of a-z 0-9 - and begin with a letter');
}

/** As other servers write theirs: like ours, and a slash at the end is allowed and counts. */
export function parseThirdPartyIssuerId(value: string, field = 'issuer'): string {
  parseIssuer(value.replace(/\/$/, ''), field);
  return value;
}

export function parseKeySetUri(value: string, field = 'jwks_uri'): string {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  const isHttp = url?.protocol === 'http:' && isLoopbackHost(url.hostname);
  const isPlain = url?.username === '' && url.password === '' && !value.includes('#');
  if (isPlain && value.length <= MAX_LENGTH && (url.protocol === 'https:' || isHttp)) return value;
  throw new FormatError(
    field,
    'must be a https URL without user and fragment (http is for loopback)',
  );
}

export function parseAudience(value: string, field = 'audience'): string {
  if (value.length <= MAX_LENGTH && /^[\x21-\x7e]+$/.test(value)) return value;
  throw new FormatError(field, `must be 1 to ${MAX_LENGTH} printable characters`);
}

export function parseClientIdPrefix(value: string, field = 'client_id_prefix'): string {
  if (value === '' || /^[A-Za-z0-9][A-Za-z0-9._:-]{0,30}:$/.test(value)) return value;
  throw new FormatError(
    field,
    'must be empty, or at most 32 characters of A-Z a-z 0-9 . _ : - that end in a colon',
  );
}

/** A list without repetitions, at least one of its values, and no others. */
function parseChoice<Choice extends string>(
  values: readonly Choice[],
  allowed: readonly Choice[],
  field: string,
): readonly Choice[] {
  const isGood = values.length > 0 && values.every((value) => allowed.includes(value));
  if (!isGood) throw new FormatError(field, `must be at least one of ${allowed.join(', ')}`);
  return Object.freeze([...new Set(values)]);
}

function parseRequiredClaims(
  claims: Readonly<Record<string, string>>,
  field: string,
): ReadonlyMap<string, string> {
  const entries = Object.entries(claims);
  const isGood = entries.every(([, value]) => typeof value === 'string');
  if (isGood && entries.length <= MAX_REQUIRED_CLAIMS) return new Map(entries);
  throw new FormatError(field, `must be at most ${MAX_REQUIRED_CLAIMS} names, each with a text`);
}

function parseLifetime(seconds: number, field: string): number {
  const most = MAX_THIRD_PARTY_LIFETIME_SECONDS;
  if (Number.isInteger(seconds) && seconds >= 1 && seconds <= most) return seconds;
  throw new FormatError(field, `must be a whole number from 1 to ${most}`);
}

/** Checks one entry and fills in its defaults. */
export function parseThirdPartyIssuer(
  options: ThirdPartyIssuerOptions,
  /** The broker's own identifier. */
  ownAudience: string,
): ThirdPartyIssuer {
  const name = parseThirdPartyName(options.name);
  const { jwksUri, ca, acceptTopicScopes = false } = options;
  const maxSeconds = options.maxTokenLifetimeSeconds ?? TOKEN_MAX_LIFETIME_SECONDS;
  return Object.freeze({
    name,
    issuer: parseThirdPartyIssuerId(options.issuer),
    jwksUri: jwksUri === undefined ? undefined : parseKeySetUri(jwksUri),
    ca,
    audience: parseAudience(options.audience ?? ownAudience),
    algorithms: parseChoice(options.algorithms, VERIFYING_ALGORITHMS, 'algorithms'),
    types: parseChoice(options.types ?? ['at+jwt'], THIRD_PARTY_TOKEN_TYPES, 'types'),
    scopeClaim: parseClaimPath(options.scopeClaim ?? 'scope', 'scope_claim'),
    clientIdClaim: parseClaimPath(options.clientIdClaim ?? 'client_id', 'client_id_claim'),
    clientIdPrefix: parseClientIdPrefix(options.clientIdPrefix ?? `${name}:`),
    scopeAliases: parseScopeAliases(options.scopeAliases ?? {}, 'scope_aliases'),
    acceptTopicScopes,
    requiredClaims: parseRequiredClaims(options.requiredClaims ?? {}, 'required_claims'),
    maxLifetimeSeconds: parseLifetime(maxSeconds, 'max_token_lifetime_seconds'),
  });
}

const MAX_THIRD_PARTIES = 16;
const withoutSlash = (issuer: string): string => issuer.replace(/\/$/, '');

/** Checks that no two issuers can be taken for each other, our own authority included. */
export function checkIssuers(
  thirdParties: readonly { readonly issuer: string }[],
  ownIssuer: Issuer | undefined,
  field: string,
): void {
  if (thirdParties.length > MAX_THIRD_PARTIES) {
    throw new FormatError(field, `must not be more than ${MAX_THIRD_PARTIES}`);
  }
  const seen = new Set<string>(ownIssuer === undefined ? [] : [ownIssuer]);
  for (const [index, { issuer }] of thirdParties.entries()) {
    // Minted tokens of our own clients have issuers there.
    const isOwnClient = ownIssuer !== undefined && issuer.startsWith(mintingPrefix(ownIssuer));
    if (isOwnClient || seen.has(withoutSlash(issuer))) {
      throw new FormatError(
        `${field}.${index}.issuer`,
        'must not be another issuer that is trusted',
      );
    }
    seen.add(withoutSlash(issuer));
  }
}
