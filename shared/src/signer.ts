/**
 * Who signs: a key in memory today, ssh-agent, PKCS#11, a TPM or a KMS behind the same interface.
 *
 * Units   signatures in bytes.
 * Errors  what the implementation throws; callers treat it as "cannot sign now".
 * Source  RFC 8032 5.1.6, RFC 8037 3.1, RFC 9864 2.2.
 *
 * @module
 */
import { sign } from 'node:crypto';
import { promisify } from 'node:util';
import type { Kid } from './ids.js';
import type { PrivateKey, PublicKey } from './keys.js';
import type { TokenAlgorithm } from './token-algorithms.js';

/**
 * Names of one algorithm: `EdDSA` (RFC 8037, what older verifiers know) and `Ed25519` (RFC 9864).
 * Emit the first, accept both.
 */
export const SIGNING_ALGORITHMS = ['EdDSA', 'Ed25519'] as const;
export type SigningAlgorithm = (typeof SIGNING_ALGORITHMS)[number];

/** Signs JWTs in one algorithm. Access tokens may have any; everything else is a `Signer`'s. */
export interface TokenSigner {
  /** `alg` of the headers it signs. */
  readonly alg: TokenAlgorithm;
  readonly publicKey: { readonly kid: Kid };
  /** Signature over the data in JOSE form. */
  sign(data: Uint8Array): Promise<Uint8Array>;
}

/** Signs with Ed25519, 64 bytes: the only algorithm of devices and services. */
export interface Signer extends TokenSigner {
  readonly alg: SigningAlgorithm;
  readonly publicKey: PublicKey;
}

const signInThreadPool = promisify(sign);

/** Signs with a key in this process. */
export function createKeySigner(key: PrivateKey, alg: SigningAlgorithm = 'EdDSA'): Signer {
  return {
    alg,
    publicKey: key.publicKey,
    sign: (data) => signInThreadPool(null, data, key.keyObject),
  };
}
