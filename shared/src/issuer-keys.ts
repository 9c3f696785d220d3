/**
 * Keys of an issuer: what access tokens are signed with, in any algorithm that a resource may ask for.
 *
 * Devices and services sign with Ed25519 and nothing else (`keys.ts`). All that is known of an
 * algorithm is its row in `ALGORITHMS`; one key serves one row (RFC 8725 3.1).
 *
 * Units   RSA modulus in bits, signatures in bytes.
 * Errors  `FormatError`; key material is never echoed.
 * Source  RFC 7518 3.3, 3.4 and 6, RFC 8037, RFC 9864 2.2, RFC 7638 3.
 *
 * @module
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  type JsonWebKey,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';
import { promisify } from 'node:util';
import { FormatError } from './errors.js';
import type { Kid } from './ids.js';
import { decodeCanonicalBase64url, importPublicJwk, type PublicJwk } from './keys.js';
import type { TokenSigner } from './signer.js';

/** Algorithms of access tokens. Verifiers allow the first two unless they are told otherwise. */
export const TOKEN_ALGORITHMS = ['EdDSA', 'Ed25519', 'ES256', 'RS256'] as const;
export type TokenAlgorithm = (typeof TOKEN_ALGORITHMS)[number];

/** Public P-256 key as a JWK (RFC 7518 6.2.1). */
export interface EcPublicJwk {
  readonly kty: 'EC';
  readonly crv: 'P-256';
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

/** A key that tokens of one algorithm are verified with. */
export interface IssuerKey {
  readonly kid: Kid;
  readonly alg: TokenAlgorithm;
  readonly jwk: IssuerJwk;
  readonly keyObject: KeyObject;
}

/** Never leaves the process that made or read it, except into a private file. */
export interface IssuerPrivateKey {
  readonly publicKey: IssuerKey;
  readonly keyObject: KeyObject;
}

/** Signs tokens with one of the issuer's keys, wherever its private half is. */
export interface IssuerSigner extends TokenSigner {
  readonly publicKey: IssuerKey;
}

interface Algorithm {
  /** For messages. */
  readonly keyName: string;
  fits(key: KeyObject): boolean;
  /** Checks the members of a public JWK and returns these alone, in the order of RFC 7638 3.2. */
  readJwk(jwk: JsonWebKey, field: string): IssuerJwk;
  /** PKCS#8 in DER. */
  generate(): Promise<Buffer>;
  readonly digest: 'sha256' | null;
  /** Shortest and longest signature. */
  readonly signatureBytes: readonly [number, number];
}

const RSA_MIN_BITS = 2048;
const RSA_MAX_BITS = 4096;
const RSA_NEW_BITS = 3072;

const generatePair = promisify(generateKeyPair) as unknown as (
  type: string,
  options: object,
) => Promise<{ readonly privateKey: Buffer }>;

/** As DER, because exporting a freshly made key object as JWK can deadlock Node 20 (STANDARDS 3.9). */
async function generateDer(type: string, options: object = {}): Promise<Buffer> {
  const { privateKey } = await generatePair(type, {
    ...options,
    publicKeyEncoding: { type: 'spki', format: 'der' },
    privateKeyEncoding: { type: 'pkcs8', format: 'der' },
  });
  return privateKey;
}

function isBase64url(value: unknown, minBytes: number, maxBytes: number): value is string {
  const length = typeof value === 'string' ? (decodeCanonicalBase64url(value)?.length ?? -1) : -1;
  return length >= minBytes && length <= maxBytes;
}

function readEcJwk({ kty, crv, x, y }: JsonWebKey, field: string): EcPublicJwk {
  if (kty === 'EC' && crv === 'P-256' && isBase64url(x, 32, 32) && isBase64url(y, 32, 32)) {
    return { crv, kty, x, y };
  }
  throw new FormatError(field, 'must have kty "EC", crv "P-256", and x and y of 32 bytes');
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
  generate: () => generateDer('ed25519'),
  digest: null,
  signatureBytes: [64, 64],
};

const ALGORITHMS: Readonly<Record<TokenAlgorithm, Algorithm>> = {
  EdDSA: ed25519,
  Ed25519: ed25519,
  ES256: {
    keyName: 'P-256',
    fits: ({ asymmetricKeyType: type, asymmetricKeyDetails: details }) =>
      type === 'ec' && details?.namedCurve === 'prime256v1',
    readJwk: readEcJwk,
    generate: () => generateDer('ec', { namedCurve: 'P-256' }),
    digest: 'sha256',
    signatureBytes: [64, 64],
  },
  RS256: {
    keyName: `RSA (${RSA_MIN_BITS} to ${RSA_MAX_BITS} bits)`,
    fits: ({ asymmetricKeyType: type, asymmetricKeyDetails: details }) => {
      const bits = details?.modulusLength ?? 0;
      return type === 'rsa' && bits >= RSA_MIN_BITS && bits <= RSA_MAX_BITS;
    },
    readJwk: readRsaJwk,
    generate: () => generateDer('rsa', { modulusLength: RSA_NEW_BITS }),
    digest: 'sha256',
    signatureBytes: [RSA_MIN_BITS / 8, RSA_MAX_BITS / 8],
  },
};

/** Whether a key is of the algorithm's kind, so that no other rules are applied to it. */
export function fitsAlgorithm(alg: TokenAlgorithm, key: KeyObject): boolean {
  return ALGORITHMS[alg].fits(key);
}

const verifyInThreadPool = promisify(verify);

/** Whether the signature, in JOSE form, is the key's over the data. Throws when the key does not fit. */
export function isSignatureOver(
  data: Uint8Array,
  signature: Uint8Array,
  { alg, key }: { readonly alg: TokenAlgorithm; readonly key: KeyObject },
): Promise<boolean> {
  const { digest } = ALGORITHMS[alg];
  return verifyInThreadPool(digest, data, { key, dsaEncoding: 'ieee-p1363' }, signature);
}

/** Whether a signature of the algorithm can have that many bytes. */
export function isSignatureLength(alg: TokenAlgorithm, bytes: number): boolean {
  const [shortest, longest] = ALGORITHMS[alg].signatureBytes;
  return bytes >= shortest && bytes <= longest;
}

/** Imports a public key of an issuer, with all checks. */
export function importIssuerJwk(
  alg: TokenAlgorithm,
  value: unknown,
  field = 'public key',
): IssuerKey {
  const row = ALGORITHMS[alg];
  const jwk = row.readJwk({ ...(value as JsonWebKey) }, field);
  let keyObject: KeyObject;
  try {
    keyObject = createPublicKey({ key: { ...jwk }, format: 'jwk' });
  } catch {
    throw new FormatError(field, `is not a ${row.keyName} key`);
  }
  if (!row.fits(keyObject)) throw new FormatError(field, `is not a ${row.keyName} key`);
  const kid = createHash('sha256').update(JSON.stringify(jwk)).digest('base64url') as Kid;
  return Object.freeze({ kid, alg, jwk: Object.freeze(jwk), keyObject });
}

function toIssuerPrivateKey(
  alg: TokenAlgorithm,
  keyObject: KeyObject,
  field: string,
): IssuerPrivateKey {
  const row = ALGORITHMS[alg];
  if (!row.fits(keyObject)) throw new FormatError(field, `is not a ${row.keyName} key`);
  const jwk = createPublicKey(keyObject).export({ format: 'jwk' });
  return Object.freeze({ publicKey: importIssuerJwk(alg, jwk, field), keyObject });
}

/** Makes a key pair in the thread pool. */
export async function generateIssuerKey(alg: TokenAlgorithm): Promise<IssuerPrivateKey> {
  const key = await ALGORITHMS[alg].generate();
  const keyObject = createPrivateKey({ key, type: 'pkcs8', format: 'der' });
  return toIssuerPrivateKey(alg, keyObject, 'private key');
}

/** Imports a private key from PKCS#8 PEM. */
export function importIssuerPem(
  alg: TokenAlgorithm,
  pem: string,
  field = 'private key',
): IssuerPrivateKey {
  let keyObject: KeyObject;
  try {
    keyObject = createPrivateKey({ key: pem, format: 'pem' });
  } catch {
    throw new FormatError(field, 'is not an unencrypted PKCS#8 PEM private key');
  }
  return toIssuerPrivateKey(alg, keyObject, field);
}

const signInThreadPool = promisify(sign);

/** Signs with a key in this process; ECDSA in the JOSE form r || s (RFC 7518 3.4). */
export function createIssuerSigner({ publicKey, keyObject }: IssuerPrivateKey): IssuerSigner {
  const { digest } = ALGORITHMS[publicKey.alg];
  return {
    alg: publicKey.alg,
    publicKey,
    sign: (data) => signInThreadPool(digest, data, { key: keyObject, dsaEncoding: 'ieee-p1363' }),
  };
}
