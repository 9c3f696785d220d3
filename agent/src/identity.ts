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
  type NumericDate,
  parseClientId,
  parsedBy,
  parseIssuer,
  parseKid,
  parseTlsPin,
  parseWith,
  type Signer,
  type TlsPin,
  UsageError,
} from '@latchkey/shared';
import * as v from 'valibot';
import { type KeyHolders, readKey, type StoredKey, signerOf } from './key-store.js';
import { checkStateDir, readPrivateFile, stateFile, writePrivateFile } from './private-file.js';

export interface Identity {
  readonly issuer: Issuer;
  readonly clientId: ClientId;
  /** Thumbprint of the key in use: the one that was enrolled, or rotated to. */
  readonly kid: Kid;
  /** Since when; `undefined`: not known. */
  readonly keySince?: NumericDate | undefined;
  /** TLS keys of which the authority must have one; none: any with a valid certificate. */
  readonly tlsPins?: readonly TlsPin[] | undefined;
}

const tlsPin = v.pipe(
  v.string(),
  parsedBy((text) => parseTlsPin(text)),
);

const schema = v.strictObject({
  issuer: v.pipe(v.string(), parsedBy(parseIssuer)),
  client_id: v.pipe(v.string(), parsedBy(parseClientId)),
  kid: v.pipe(v.string(), parsedBy(parseKid)),
  key_since: v.optional(v.pipe(v.number(), v.safeInteger(), v.minValue(0))),
  tls_pins: v.optional(v.array(tlsPin), []),
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
  const file = parseWith(schema, value, path);
  const { issuer, client_id: clientId, kid, key_since: keySince, tls_pins: tlsPins } = file;
  return { issuer, clientId, kid, keySince, tlsPins };
}

/** Pins the identity. The last step of enrollment, so its file means "enrolled". */
export async function writeIdentity(stateDir: string, identity: Identity): Promise<void> {
  const { issuer, clientId, kid, keySince, tlsPins = [] } = identity;
  const file = {
    ...{ issuer, client_id: clientId, kid, key_since: keySince },
    ...(tlsPins.length > 0 && { tls_pins: tlsPins }),
  };
  const text = JSON.stringify(file, undefined, 2);
  await writePrivateFile(stateFile(stateDir, 'identity'), `${text}\n`);
}

/** The stored key that the identity names. During a rotation that is either of two files. */
export async function readKeyInUse(
  stateDir: string,
  { kid }: Identity,
): Promise<StoredKey | undefined> {
  for (const file of ['key', 'nextKey'] as const) {
    const key = await readKey(stateDir, file);
    if (key?.publicKey.kid === kid) return key;
  }
  return undefined;
}

/** Opens an enrolled state folder: checks modes, and that the key is the one that was enrolled. */
export async function openIdentity(
  stateDir: string,
  holders: KeyHolders = {},
): Promise<{ readonly identity: Identity; readonly signer: Signer }> {
  await checkStateDir(stateDir);
  // Twice, since a rotation may end between the reading of one file and the next.
  for (let tries = 0; tries < 2; tries += 1) {
    const identity = await readIdentity(stateDir);
    if (identity === undefined) {
      throw new UsageError(`${stateDir} is not enrolled; run: latchkey-agent enroll`);
    }
    const key = await readKeyInUse(stateDir, identity);
    if (key !== undefined) return { identity, signer: signerOf(key, holders) };
  }
  const other = await readKey(stateDir);
  throw new UsageError(
    other === undefined
      ? `${stateFile(stateDir, 'key')} is missing; restore it, or enroll in another state folder`
      : `the key in ${stateDir} is ${other.publicKey.kid}, but another one was enrolled`,
  );
}

/** Refuses a configuration for another authority or another device than the state folder is of. */
export function refuseOther(
  identity: Identity,
  {
    issuer,
    clientId,
  }: { readonly issuer?: Issuer | undefined; readonly clientId?: ClientId | undefined },
  stateDir: string,
): void {
  const isSame =
    (issuer ?? identity.issuer) === identity.issuer &&
    (clientId ?? identity.clientId) === identity.clientId;
  if (isSame) return;
  throw new UsageError(
    `${stateDir} is enrolled as ${identity.clientId} at ${identity.issuer}, and not as ` +
      `${clientId ?? identity.clientId} at ${issuer ?? identity.issuer}; ` +
      'use another state folder, or remove this one',
  );
}
