/**
 * What the registry keeps of the authority's signing keys: public halves and states.
 *
 * Units   NumericDate.
 * Errors  `UnavailableError` when storage fails.
 * Source  DESIGN 5; RFC 7638 (`kid`).
 *
 * @module
 */
import type { IssuerJwk, Kid, NumericDate, TokenAlgorithm } from '@latchkey/shared';

/** `next` is published and signs nothing yet, `active` signs, `retired` verifies what it signed. */
export type SigningKeyStatus = 'next' | 'active' | 'retired';

/** Public half of a key that signs tokens; the private half is behind a `Signer`, never here. */
export interface SigningKey {
  readonly kid: Kid;
  /** The one algorithm that it signs in. */
  readonly alg: TokenAlgorithm;
  readonly jwk: IssuerJwk;
  readonly status: SigningKeyStatus;
  readonly createdAt: NumericDate;
  /** When it began to sign; `undefined` if it never did. */
  readonly activatedAt: NumericDate | undefined;
  /** `undefined` until it is `retired`. */
  readonly retiredAt: NumericDate | undefined;
  /** From then on a retired key is no longer trusted; `undefined` until it is `retired`. */
  readonly publishedUntil: NumericDate | undefined;
}

/** A change that was planned on `seen` and is right for that state only. */
export interface SigningKeyChange {
  readonly seen: readonly SigningKey[];
  /** Keys that are new or have a new state. */
  readonly put: readonly SigningKey[];
  readonly remove?: readonly Kid[];
}

export interface SigningKeyStore {
  /** All keys, the oldest first. */
  signingKeys(): Promise<readonly SigningKey[]>;
  /** Changes the keys as a whole; false, and nothing changes, when they are not as `seen` any more. */
  changeSigningKeys(change: SigningKeyChange): Promise<boolean>;
}
