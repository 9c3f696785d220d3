/**
 * The algorithms of access tokens: which keys each one takes, and how its signatures are checked.
 *
 * All that is known of an algorithm is its row in `ALGORITHMS`; one key serves one row (RFC 8725 3.1).
 *
 * Units   RSA modulus in bits, signatures in bytes.
 * Errors  `FormatError`; key material is never echoed.
 * Source  RFC 7518 3.3 to 3.5 and 6, RFC 8037, RFC 9864 2.2.
 *
 * @module
 */
import { constants, type JsonWebKey, type KeyObject, verify } from 'node:crypto';
import { promisify } from 'node:util';
import { FormatError } from './errors.js';
import { decodeCanonicalBase64url, importPublicJwk, type PublicJwk } from './keys.js';

/** What we sign access tokens with. Verifiers allow the first two unless they are told otherwise. */
export const TOKEN_ALGORITHMS = ['EdDSA', 'Ed25519', 'ES256', 'RS256'] as const;
export type TokenAlgorithm = (typeof TOKEN_ALGORITHMS)[number];

/** What access tokens can be verified with: ours, and what other authorization servers sign with. */
export const VERIFYING_ALGORITHMS = [
  'EdDSA',
  'Ed25519',
  'ES256',
  'RS256',
  'ES384',
  'PS256',
] as const;
export type VerifyingAlgorithm = (typeof VERIFYING_ALGORITHMS)[number];

/** Public P-256 or P-384 key as a JWK (RFC 7518 6.2.1). */
export interface EcPublicJwk {
  readonly kty: 'EC';
  readonly crv: 'P-256' | 'P-384';
  readonly x: string;
  readonly y: string;
}
/** Public RSA key as a JWK (RFC 7518 6.3.1). */
export interface RsaPublicJwk {
  readonly kty: 'RSA';
  readonly n: string;
  readonly e: string;
}
export type IssuerJwk = PublicJwk | EcPublicJwk | RsaPublicJwk;

export interface Algorithm {
  /** For messages. */
  readonly keyName: string;
  fits(key: KeyObject): boolean;
  /** Checks the members of a public JWK and returns these alone, in the order of RFC 7638 3.2. */
  readJwk(jwk: JsonWebKey, field: string): IssuerJwk;
  readonly digest: 'sha256' | 'sha384' | null;
  /** How RSA pads; nothing for the others. */
  readonly padding?: { readonly padding: number; readonly saltLength?: number };
  /** Shortest and longest signature. */
  readonly signatureBytes: readonly [number, number];
}

const RSA_MIN_BITS = 2048;
const RSA_MAX_BITS = 4096;

function isBase64url(value: unknown, minBytes: number, maxBytes: number): value is string {
  const length = typeof value === 'string' ? (decodeCanonicalBase64url(value)?.length ?? -1) : -1;
  return length >= minBytes && length <= maxBytes;
}

/** ECDSA on one curve; both coordinates, and both halves of a signature, have that many bytes. */
function ecdsa(
  curve: EcPublicJwk['crv'],
  bytes: number,
  how: { readonly nodeName: string; readonly digest: 'sha256' | 'sha384' },
): Algorithm {
  return {
    keyName: curve,
    fits: ({ asymmetricKeyType: type, asymmetricKeyDetails: details }) =>
      type === 'ec' && details?.namedCurve === how.nodeName,
    readJwk: ({ kty, crv, x, y }, field) => {
      const isOnCurve = kty === 'EC' && crv === curve;
      if (isOnCurve && isBase64url(x, bytes, bytes) && isBase64url(y, bytes, bytes)) {
        return { crv: curve, kty: 'EC', x, y };
      }
      const members = `kty "EC", crv "${curve}", and x and y of ${bytes} bytes`;
      throw new FormatError(field, `must have ${members}`);
    },
    digest: how.digest,
    signatureBytes: [2 * bytes, 2 * bytes],
  };
}

function readRsaJwk({ kty, n, e }: JsonWebKey, field: string): RsaPublicJwk {
  // Every generator makes 65537; even or tiny exponents only come from attackers.
  const fits = kty === 'RSA' && e === 'AQAB';
  if (fits && isBase64url(n, RSA_MIN_BITS / 8, RSA_MAX_BITS / 8)) return { e, kty, n };
  throw new FormatError(field, 'must have kty "RSA", e "AQAB", and n of 2048 to 4096 bits');
}

const ed25519: Algorithm = {
  keyName: 'Ed25519',
  fits: (key) => key.asymmetricKeyType === 'ed25519',
  readJwk: (jwk, field) => {
    const { crv, kty, x } = importPublicJwk(jwk, field).jwk;
    return { crv, kty, x };
  },
  digest: null,
  signatureBytes: [64, 64],
};

const rsa: Algorithm = {
  keyName: `RSA (${RSA_MIN_BITS} to ${RSA_MAX_BITS} bits)`,
  fits: ({ asymmetricKeyType: type, asymmetricKeyDetails: details }) => {
    const bits = details?.modulusLength ?? 0;
    return type === 'rsa' && bits >= RSA_MIN_BITS && bits <= RSA_MAX_BITS;
  },
  readJwk: readRsaJwk,
  digest: 'sha256',
  padding: { padding: constants.RSA_PKCS1_PADDING },
  signatureBytes: [RSA_MIN_BITS / 8, RSA_MAX_BITS / 8],
};

const ALGORITHMS: Readonly<Record<VerifyingAlgorithm, Algorithm>> = {
  EdDSA: ed25519,
  Ed25519: ed25519,
  ES256: ecdsa('P-256', 32, { nodeName: 'prime256v1', digest: 'sha256' }),
  ES384: ecdsa('P-384', 48, { nodeName: 'secp384r1', digest: 'sha384' }),
  RS256: rsa,
  PS256: {
    ...rsa,
    // RFC 7518 3.5: the salt is as long as the hash.
    padding: {
      padding: constants.RSA_PKCS1_PSS_PADDING,
      saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
    },
  },
};

/** What is to be known of an algorithm's keys. */
export function rulesOf(alg: VerifyingAlgorithm): Algorithm {
  return ALGORITHMS[alg];
}

/** Whether two names are of one algorithm: `EdDSA` and `Ed25519` are (RFC 9864 2.2). */
export function isSameAlgorithm(one: VerifyingAlgorithm, other: VerifyingAlgorithm): boolean {
  return ALGORITHMS[one] === ALGORITHMS[other];
}

/** Whether a key is of the algorithm's kind, so that no other rules are applied to it. */
export function fitsAlgorithm(alg: VerifyingAlgorithm, key: KeyObject): boolean {
  return ALGORITHMS[alg].fits(key);
}

const verifyInThreadPool = promisify(verify);

/** Whether the signature, in JOSE form, is the key's over the data. Throws when the key does not fit. */
export function isSignatureOver(
  data: Uint8Array,
  signature: Uint8Array,
  { alg, key }: { readonly alg: VerifyingAlgorithm; readonly key: KeyObject },
): Promise<boolean> {
  const { digest, padding } = ALGORITHMS[alg];
  const how = { key, dsaEncoding: 'ieee-p1363' as const, ...padding };
  return verifyInThreadPool(digest, data, how, signature);
}

/** Whether a signature of the algorithm can have that many bytes. */
export function isSignatureLength(alg: VerifyingAlgorithm, bytes: number): boolean {
  const [shortest, longest] = ALGORITHMS[alg].signatureBytes;
  return bytes >= shortest && bytes <= longest;
}
