/**
 * Keys of an issuer: what access tokens are signed with, in any algorithm that a resource may ask for.
 *
 * Devices and services sign with Ed25519 and nothing else (`keys.ts`).
 *
 * Units   RSA modulus in bits, signatures in bytes.
 * Errors  `FormatError`; key material is never echoed.
 * Source  RFC 7518 3.4, RFC 7638 3; `token-algorithms.ts`.
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
} from 'node:crypto';
import { promisify } from 'node:util';
import { FormatError } from './errors.js';
import type { Kid } from './ids.js';
import type { TokenSigner } from './signer.js';
import {
  type IssuerJwk,
  rulesOf,
  type TokenAlgorithm,
  type VerifyingAlgorithm,
} from './token-algorithms.js';

/** A key that tokens of one algorithm are verified with. */
export interface IssuerKey<Alg extends VerifyingAlgorithm = TokenAlgorithm> {
  readonly kid: Kid;
  readonly alg: Alg;
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

const GENERATORS: Readonly<Record<TokenAlgorithm, () => Promise<Buffer>>> = {
  EdDSA: () => generateDer('ed25519'),
  Ed25519: () => generateDer('ed25519'),
  ES256: () => generateDer('ec', { namedCurve: 'P-256' }),
  RS256: () => generateDer('rsa', { modulusLength: RSA_NEW_BITS }),
};

/** Imports a public key of an issuer, with all checks. */
export function importIssuerJwk<Alg extends VerifyingAlgorithm>(
  alg: Alg,
  value: unknown,
  field = 'public key',
): IssuerKey<Alg> {
  const row = rulesOf(alg);
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
  const row = rulesOf(alg);
  if (!row.fits(keyObject)) throw new FormatError(field, `is not a ${row.keyName} key`);
  const jwk = createPublicKey(keyObject).export({ format: 'jwk' });
  return Object.freeze({ publicKey: importIssuerJwk(alg, jwk, field), keyObject });
}

/** Makes a key pair in the thread pool. */
export async function generateIssuerKey(alg: TokenAlgorithm): Promise<IssuerPrivateKey> {
  const key = await GENERATORS[alg]();
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
  const { digest } = rulesOf(publicKey.alg);
  return {
    alg: publicKey.alg,
    publicKey,
    sign: (data) => signInThreadPool(digest, data, { key: keyObject, dsaEncoding: 'ieee-p1363' }),
  };
}
