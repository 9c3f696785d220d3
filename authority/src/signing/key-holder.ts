/**
 * Where the private halves of signing keys are: files here, or a KMS or HSM by another implementation.
 *
 * Units   none.
 * Errors  what the implementation throws; see `signing/key-files.ts` for ours.
 * Source  docs/signers.md.
 *
 * @module
 */
import type { IssuerSigner, Kid, TokenAlgorithm } from '@latchkey/shared';

export interface KeyHolder {
  /** Makes a key; once the promise resolves, the key survives a power cut. */
  create(alg: TokenAlgorithm): Promise<IssuerSigner>;
  /** The signer of a key that was made here or by another process. */
  open(kid: Kid, alg: TokenAlgorithm): Promise<IssuerSigner>;
  /** The key never signs again; its private half may be destroyed. Unknown keys are no error. */
  discard(kid: Kid): Promise<void>;
}
