/**
 * Enrolls the device: makes its key and binds it to a client id at the authority, once.
 *
 * The key is on disk before anything is sent and the identity after the answer, so a power cut at any
 * point is mended by running the same command again: it sends the same key.
 *
 * Units   NumericDate.
 * Errors  `UsageError`: enrolled as somebody else. `TokenRequestError`: refused. `UnreachableError`.
 * Source  DESIGN 4 (Enrollment); RFC 8414 3.3 (issuer compared before the code is sent).
 *
 * @module
 */
import {
  type ClientId,
  type Clock,
  discover,
  type HttpClient,
  type Issuer,
  parseEnrollmentText,
  refusalOf,
  signEnrollmentProof,
  silentLogger,
  type TlsPin,
  UnreachableError,
  UsageError,
  withTlsPins,
} from '@latchkey/shared';
import * as v from 'valibot';
import { createAuthorityTime, learnTimeFrom } from './authority-time.js';
import { type Identity, readIdentity, refuseOther, writeIdentity } from './identity.js';
import { keyRefusal } from './key-acceptance.js';
import { type KeyHolders, openKey, openOrMakeKey } from './key-store.js';
import { makeStateDir, removeStateFile } from './private-file.js';

export interface EnrollmentRequest {
  readonly stateDir: string;
  readonly issuer: Issuer;
  readonly clientId: ClientId;
  /**
   * Asked only when a code is needed. The text is a secret. `undefined`: the key is registered already,
   * and nothing but that is asked of the authority.
   */
  readonly readCode: (() => Promise<string>) | undefined;
  /** TLS keys of which the authority must have one, now and ever after. Default: none. */
  readonly tlsPins?: readonly TlsPin[] | undefined;
}

export interface EnrollmentDeps extends KeyHolders {
  readonly http: HttpClient;
  readonly clock: Clock;
}

export interface EnrollmentResult {
  readonly identity: Identity;
  /** Whether the device was enrolled as just this before; nothing was sent then. */
  readonly isRepeated: boolean;
}

const answerSchema = v.object({ client_id: v.string(), kid: v.string(), issuer: v.string() });

async function checkEarlier(request: EnrollmentRequest): Promise<Identity | undefined> {
  const { stateDir, issuer, clientId, tlsPins } = request;
  const earlier = await readIdentity(stateDir);
  if (earlier === undefined) return undefined;
  refuseOther(earlier, { issuer, clientId }, stateDir);
  if (tlsPins !== undefined && tlsPins.join() !== (earlier.tlsPins ?? []).join()) {
    throw new UsageError(`${stateDir} is enrolled with other TLS pins; change authority.tls_pins`);
  }
  return earlier;
}

async function sendEnrollment(
  url: string,
  body: string,
  expected: Identity,
  http: HttpClient,
): Promise<void> {
  const response = await http.request({
    method: 'POST',
    url,
    headers: { 'content-type': 'application/json', accept: 'application/json' },
    body,
  });
  if (response.status !== 201) throw refusalOf(response, url);
  let answer: v.InferOutput<typeof answerSchema>;
  try {
    answer = v.parse(answerSchema, JSON.parse(response.body));
  } catch (cause) {
    throw new UnreachableError(`the answer of ${url} is not as expected`, { cause });
  }
  const isOurs =
    answer.client_id === expected.clientId &&
    answer.kid === expected.kid &&
    answer.issuer === expected.issuer;
  if (!isOurs) throw new UnreachableError(`${url} enrolled something else than was asked for`);
}

/** Redeems the code for the key of the state folder, which is made unless there is one. */
async function enrollByCode(
  request: EnrollmentRequest,
  readCode: () => Promise<string>,
  deps: EnrollmentDeps,
): Promise<Identity> {
  const { stateDir, issuer, clientId } = request;
  const { http, clock } = deps;
  const enrollmentCode = parseEnrollmentText((await readCode()).trim(), issuer);
  const signer = await openOrMakeKey(stateDir, deps);
  const { enrollment_endpoint: url } = await discover(http, issuer);
  if (url === undefined) throw new UnreachableError(`${issuer} does not offer enrollment`);

  const now = clock.now();
  const proof = await signEnrollmentProof(signer, { issuer, clientId, enrollmentCode, now });
  const identity = { issuer, clientId, kid: signer.publicKey.kid, keySince: now };
  const body = JSON.stringify({
    enrollment_code: enrollmentCode,
    client_id: clientId,
    public_key: signer.publicKey.jwk,
    proof,
  });
  await sendEnrollment(url, body, identity, http);
  return identity;
}

/** Takes the key of the state folder for the one that was registered, once the authority accepts it. */
async function enrollByKey(request: EnrollmentRequest, deps: EnrollmentDeps): Promise<Identity> {
  const { stateDir, issuer, clientId } = request;
  const { http, clock } = deps;
  const signer = await openKey(stateDir, deps);
  const metadata = await discover(http, issuer);
  const { kid } = signer.publicKey;
  const refusal = await keyRefusal({ issuer, clientId }, signer, { metadata, http, clock });
  if (refusal === undefined) return { issuer, clientId, kid, keySince: clock.now() };
  throw new Error(
    `${issuer} does not accept the key ${kid} for ${clientId} (${refusal.message}); ` +
      `register it: latchkey device create ${clientId} --public-key FILE`,
    { cause: refusal },
  );
}

export async function enroll(
  request: EnrollmentRequest,
  given: EnrollmentDeps,
): Promise<EnrollmentResult> {
  const { stateDir, issuer, readCode, tlsPins = [] } = request;
  // The first answer tells the time, so that a device that has none yet can prove itself fresh.
  const clock = createAuthorityTime({ machine: given.clock, logger: silentLogger });
  const http = learnTimeFrom(withTlsPins(given.http, tlsPins), issuer, clock);
  const deps = { ...given, clock, http };
  await makeStateDir(stateDir);
  const earlier = await checkEarlier(request);
  if (earlier !== undefined) return { identity: earlier, isRepeated: true };
  const enrolled = await (readCode === undefined
    ? enrollByKey(request, deps)
    : enrollByCode(request, readCode, deps));
  // Of an identity that was here before, if any.
  for (const file of ['tokens', 'nextKey'] as const) await removeStateFile(stateDir, file);
  const identity = { ...enrolled, tlsPins };
  await writeIdentity(stateDir, identity);
  return { identity, isRepeated: false };
}
