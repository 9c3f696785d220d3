/**
 * The keys that sign tokens: private halves in files behind a `Signer`, states in the registry.
 *
 * Units   none.
 * Errors  `ConfigError` when the active key is missing or its file holds another key.
 * Source  DESIGN 5; RFC 7517 (JWK set).
 *
 * @module
 */
import {
  ConfigError,
  createKeySigner,
  FormatError,
  importPrivatePem,
  type Kid,
  type PublicKey,
  restorePublicKey,
  type Signer,
} from '@latchkey/shared';
import { readPrivateFile } from './private-file.js';
import type { Registry } from './registry/registry.js';

export interface SigningKeys {
  /** Signs new tokens. */
  readonly active: Signer;
  /** What verifiers are told: the active key and the next one. */
  readonly published: readonly PublicKey[];
  find(kid: string | undefined): PublicKey | undefined;
}

function readSigner(path: string, kid: Kid): Signer {
  const problem = (message: string) => new ConfigError(path, [{ path: '', message }]);
  const pem = readPrivateFile(path);
  try {
    const signer = createKeySigner(importPrivatePem(pem));
    if (signer.publicKey.kid === kid) return signer;
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    throw problem(error.problem);
  }
  throw problem('holds another key than its name says');
}

export async function loadSigningKeys(
  registry: Registry,
  pathOf: (kid: Kid) => string,
): Promise<SigningKeys> {
  const rows = await registry.signingKeys();
  const active = rows.find(({ status }) => status === 'active');
  if (active === undefined) {
    throw new ConfigError('registry', [{ path: 'signing_key', message: 'none is active' }]);
  }
  const published = rows
    .filter(({ status }) => status !== 'retired')
    .map(({ jwk }) => restorePublicKey(jwk));
  const byKid = new Map<string, PublicKey>(published.map((key) => [key.kid, key]));
  return {
    active: readSigner(pathOf(active.kid), active.kid),
    published,
    find: (kid) => (kid === undefined ? undefined : byKid.get(kid)),
  };
}
