/**
 * Replaces the device's key: the old key vouches for the new one at the authority, both are valid, and
 * after the first success with the new one the old one ends.
 *
 * A file for the next key stands from the first step to the last, so every step can be taken again:
 *
 * 1. `next-key.pem` is written. Nobody knows that key yet.
 * 2. The authority takes it, vouched for by the old one. Both work.
 * 3. A token is asked for with it. When that works, `identity.json` names it: the agent uses it from here.
 * 4. The new key ends the old one at the authority.
 * 5. `next-key.pem` becomes `device-key.pem`, over the old key.
 *
 * Until 3 the old key is in use and valid, from 3 on the new one is: a power cut at any point leaves a
 * key that works, and the next run goes on where it was.
 *
 * Units   NumericDate.
 * Errors  `UsageError`: not enrolled, or another rotation runs. `TokenRequestError`: the authority
 *         refuses. `UnreachableError`: try again later.
 * Source  DESIGN 9 (I9, I10); `authority/src/oauth/key-rotation.ts` is the other end.
 *
 * @module
 */
import {
  CLIENT_ASSERTION_TYPE,
  type Clock,
  discover,
  type HttpClient,
  type Kid,
  type Logger,
  refusalOf,
  type ServerMetadata,
  type Signer,
  signAssertion,
  signKeyRotation,
  TokenRequestError,
  UnreachableError,
  UsageError,
} from '@latchkey/shared';
import { type Identity, openIdentity, writeIdentity } from './identity.js';
import { keyRefusal } from './key-acceptance.js';
import { type KeyHolders, readKey, type StoredKey, signerOf, writeNewKey } from './key-store.js';
import { checkStateDir, replaceStateFile } from './private-file.js';
import { lockStateDir } from './state-lock.js';

export interface KeyRotationDeps extends KeyHolders {
  readonly stateDir: string;
  readonly http: HttpClient;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface KeyRotationResult {
  readonly kid: Kid;
  /** Whether the next key was there from an attempt before. */
  readonly isResumed: boolean;
}

type Exchange = KeyRotationDeps & {
  readonly identity: Identity;
  readonly metadata: ServerMetadata;
  readonly url: string;
};

async function post({ http }: Exchange, url: string, body: object, status: number): Promise<void> {
  const response = await http.request({
    method: 'POST',
    url,
    headers: { 'content-type': 'application/json', accept: 'application/json' },
    body: JSON.stringify(body),
  });
  if (response.status !== status) throw refusalOf(response, url);
}

async function vouch(exchange: Exchange, oldSigner: Signer, newSigner: Signer): Promise<void> {
  const { identity, clock, url } = exchange;
  const { issuer, clientId } = identity;
  const now = clock.now();
  const request = await signKeyRotation({ oldSigner, newSigner, issuer, clientId, now });
  await post(exchange, url, request, 201);
}

/** Steps 2 and 3: afterwards the new key is the one in use. */
async function adopt(exchange: Exchange, oldSigner: Signer, newSigner: Signer): Promise<void> {
  const { stateDir, identity, clock } = exchange;
  let refusal: unknown;
  try {
    await vouch(exchange, oldSigner, newSigner);
  } catch (error) {
    // The old key may be gone because an operator finished the rotation: then the new one works.
    if (!(error instanceof TokenRequestError) || error.error !== 'invalid_grant') throw error;
    refusal = error;
  }
  if ((await keyRefusal(identity, newSigner, exchange)) !== undefined) {
    throw refusal ?? new UnreachableError('the authority took the new key, but does not accept it');
  }
  const { kid } = newSigner.publicKey;
  await writeIdentity(stateDir, { ...identity, kid, keySince: clock.now() });
}

/** Step 4. The authority may be asked again: the old key is gone then. */
async function endOldKey(exchange: Exchange, signer: Signer): Promise<void> {
  const { identity, clock, url } = exchange;
  const { issuer, clientId } = identity;
  const now = clock.now();
  const use = 'client-authentication';
  const client_assertion = await signAssertion(signer, { clientId, issuer, now, use });
  const body = { client_assertion_type: CLIENT_ASSERTION_TYPE, client_assertion };
  await post(exchange, `${url}/finish`, body, 200);
}

/** Whether a rotation was begun and not brought to its end. */
export async function isRotationUnderWay(stateDir: string): Promise<boolean> {
  return (await readKey(stateDir, 'nextKey')) !== undefined;
}

/** Rotates to the key that `makeNext` gives, or goes on with the rotation that is under way. */
export async function rotateKey(
  deps: KeyRotationDeps,
  makeNext: () => Promise<StoredKey>,
): Promise<KeyRotationResult> {
  const { stateDir, http, logger } = deps;
  await checkStateDir(stateDir);
  const lock = lockStateDir(stateDir, 'keyRotation');
  try {
    const { identity, signer } = await openIdentity(stateDir, deps);
    const earlier = await readKey(stateDir, 'nextKey');
    const next = earlier ?? (await makeNext());
    const { kid } = next.publicKey;
    if (earlier === undefined) {
      if (kid === identity.kid) throw new UsageError(`${kid} is the key in use`);
      await writeNewKey(stateDir, next, 'nextKey');
    }

    const metadata = await discover(http, identity.issuer);
    const { key_rotation_endpoint: url } = metadata;
    if (url === undefined) {
      throw new UnreachableError(`${identity.issuer} does not offer the rotation of keys`);
    }
    const exchange = { ...deps, identity, metadata, url };
    const newSigner = signerOf(next, deps);
    if (identity.kid !== kid) await adopt(exchange, signer, newSigner);
    await endOldKey(exchange, newSigner);
    await replaceStateFile(stateDir, 'nextKey', 'key');
    logger.info({ event: 'key.rotated', kid, oldKid: identity.kid }, 'the key was replaced');
    return { kid, isResumed: earlier !== undefined };
  } finally {
    lock.release();
  }
}
