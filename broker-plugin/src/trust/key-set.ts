/**
 * Reads a JWK Set: which of its keys verify tokens, and each by which one algorithm.
 *
 * Units   none.
 * Errors  `UnreachableError` for a set that gives no key at all; a key that is not usable is left out.
 * Source  RFC 7517 4 and 5, RFC 8725 3.1 (one key, one algorithm); STANDARDS 3.9, 3.12.
 *
 * @module
 */
import {
  FormatError,
  type IssuerKey,
  importIssuerJwk,
  isSameAlgorithm,
  UnreachableError,
  type VerifyingAlgorithm,
} from '@latchkey/shared';
import * as v from 'valibot';

/** Its `kid` is the thumbprint, whatever the set calls it. */
export type KeySetKey = IssuerKey<VerifyingAlgorithm>;
/** By the `kid` that the set gives them, or by thumbprint. */
export type KeySet = ReadonlyMap<string, KeySetKey>;

/** A set has a next, an active and a few retired keys. */
const MAX_KEYS = 32;

const keySetSchema = v.object({
  keys: v.pipe(v.array(v.looseObject({ kid: v.optional(v.string()) })), v.maxLength(MAX_KEYS)),
});
type Jwk = v.InferOutput<typeof keySetSchema>['keys'][number];

/** Members of private keys (RFC 7518 6.2.2, 6.3.2) and of secrets (6.4). */
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'] as const;

const KEY_KINDS: Readonly<
  Record<VerifyingAlgorithm, { readonly kty: string; readonly crv?: string }>
> = {
  EdDSA: { kty: 'OKP', crv: 'Ed25519' },
  Ed25519: { kty: 'OKP', crv: 'Ed25519' },
  ES256: { kty: 'EC', crv: 'P-256' },
  ES384: { kty: 'EC', crv: 'P-384' },
  RS256: { kty: 'RSA' },
  PS256: { kty: 'RSA' },
};

/** Whether a key is not for verifying signatures, which is no fault (RFC 7517 4.2 and 4.3). */
function isForOtherUse({ use, key_ops: operations }: Jwk): boolean {
  if (use !== undefined && use !== 'sig') return true;
  return operations !== undefined && !(Array.isArray(operations) && operations.includes('verify'));
}

/**
 * The allowed algorithms that a key can be for. `EdDSA` and `Ed25519` are one, so that the first of
 * them stands for both.
 */
function algorithmsOf(jwk: Jwk, allowed: readonly VerifyingAlgorithm[]): VerifyingAlgorithm[] {
  return allowed.filter((alg, index) => {
    const isRepeated = allowed.slice(0, index).some((other) => isSameAlgorithm(alg, other));
    const { kty, crv } = KEY_KINDS[alg];
    if (isRepeated || jwk.kty !== kty || (crv !== undefined && jwk.crv !== crv)) return false;
    return jwk.alg === undefined || isNameOf(alg, jwk.alg);
  });
}

function isNameOf(alg: VerifyingAlgorithm, name: unknown): boolean {
  return (Object.keys(KEY_KINDS) as VerifyingAlgorithm[]).some(
    (other) => other === name && isSameAlgorithm(alg, other),
  );
}

/** Whether a known key is made of the very members that the JWK has. */
function isMadeOf({ jwk: members }: KeySetKey, jwk: Jwk): boolean {
  return Object.entries(members).every(([name, value]) => jwk[name] === value);
}

function importKey(jwk: Jwk, alg: VerifyingAlgorithm, known: KeySet): KeySetKey {
  if (PRIVATE_MEMBERS.some((name) => Object.hasOwn(jwk, name))) {
    throw new FormatError('public key', 'holds a private key or a secret');
  }
  // A key that passed the checks of Ed25519 before is not checked again.
  const same = [...known.values()].find((key) => key.alg === alg && isMadeOf(key, jwk));
  return same ?? importIssuerJwk(alg, jwk);
}

function parseKeySet(body: string, url: string): readonly Jwk[] {
  try {
    return v.parse(keySetSchema, JSON.parse(body)).keys;
  } catch (cause) {
    throw new UnreachableError(`${url} is not a set of at most ${MAX_KEYS} keys`, { cause });
  }
}

export function importKeySet(
  body: string,
  options: {
    /** For messages. */
    readonly url: string;
    readonly algorithms: readonly VerifyingAlgorithm[];
    /** What was imported before. */
    readonly known: KeySet;
    /** Is told why a key that looks like one of ours is left out. */
    readonly onIgnored: (detail: string) => void;
  },
): KeySet {
  const { url, algorithms, known, onIgnored } = options;
  const imported = new Map<string, KeySetKey>();
  for (const jwk of parseKeySet(body, url)) {
    const [alg, ...others] = isForOtherUse(jwk) ? [] : algorithmsOf(jwk, algorithms);
    if (alg === undefined) continue;
    if (others.length > 0) {
      onIgnored(`a key without alg could be for ${[alg, ...others].join(' or ')}`);
      continue;
    }
    try {
      const key = importKey(jwk, alg, known);
      const kid = jwk.kid ?? key.kid;
      if (!imported.has(kid)) imported.set(kid, key);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      onIgnored(error.message);
    }
  }
  // Nothing usable is a mistake of somebody, not an instruction to trust nobody.
  if (imported.size === 0) {
    throw new UnreachableError(`${url} has no usable key for ${algorithms.join(' or ')}`);
  }
  return imported;
}
