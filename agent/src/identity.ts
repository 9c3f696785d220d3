/**
 * Who this device is and which authority it trusts: written once, at enrollment.
 *
 * Units   none.
 * Errors  `UsageError` or `ConfigError` with what the operator must do.
 * Source  DESIGN 4 (client ids), STANDARDS 2.2 (the issuer is pinned at enrollment).
 *
 * @module
 */
import {
  type ClientId,
  type Issuer,
  type Kid,
  parseClientId,
  parsedBy,
  parseIssuer,
  parseKid,
  parseWith,
  type Signer,
  UsageError,
} from '@latchkey/shared';
import * as v from 'valibot';
import { type KeyHolders, openKey } from './key-store.js';
import { checkStateDir, readPrivateFile, stateFile, writePrivateFile } from './private-file.js';

export interface Identity {
  readonly issuer: Issuer;
  readonly clientId: ClientId;
  /** Thumbprint of the key that was enrolled. */
  readonly kid: Kid;
}

const schema = v.strictObject({
  issuer: v.pipe(v.string(), parsedBy(parseIssuer)),
  client_id: v.pipe(v.string(), parsedBy(parseClientId)),
  kid: v.pipe(v.string(), parsedBy(parseKid)),
});

/** The identity in the state folder, or `undefined` before enrollment. */
export async function readIdentity(stateDir: string): Promise<Identity | undefined> {
  const path = stateFile(stateDir, 'identity');
  const text = await readPrivateFile(path);
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new UsageError(`${path} is not JSON`);
  }
  const { issuer, client_id: clientId, kid } = parseWith(schema, value, path);
  return { issuer, clientId, kid };
}

/** Pins the identity. The last step of enrollment, so its file means "enrolled". */
export async function writeIdentity(stateDir: string, identity: Identity): Promise<void> {
  const { issuer, clientId, kid } = identity;
  const text = JSON.stringify({ issuer, client_id: clientId, kid }, undefined, 2);
  await writePrivateFile(stateFile(stateDir, 'identity'), `${text}\n`);
}

/** Opens an enrolled state folder: checks modes, and that the key is the one that was enrolled. */
export async function openIdentity(
  stateDir: string,
  holders: KeyHolders = {},
): Promise<{ readonly identity: Identity; readonly signer: Signer }> {
  await checkStateDir(stateDir);
  const identity = await readIdentity(stateDir);
  if (identity === undefined) {
    throw new UsageError(`${stateDir} is not enrolled; run: latchkey-agent enroll`);
  }
  const signer = await openKey(stateDir, holders);
  if (signer.publicKey.kid !== identity.kid) {
    throw new UsageError(
      `the key in ${stateDir} is ${signer.publicKey.kid}, but ${identity.kid} was enrolled`,
    );
  }
  return { identity, signer };
}
