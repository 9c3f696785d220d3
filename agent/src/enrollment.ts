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
  parseEnrollmentCode,
  refusalOf,
  signEnrollmentProof,
  silentLogger,
  UnreachableError,
  UsageError,
} from '@latchkey/shared';
import * as v from 'valibot';
import { createAuthorityTime, learnTimeFrom } from './authority-time.js';
import { type Identity, readIdentity, writeIdentity } from './identity.js';
import { type KeyHolders, openOrMakeKey } from './key-store.js';
import { makeStateDir, removeStateFile } from './private-file.js';

export interface EnrollmentRequest {
  readonly stateDir: string;
  readonly issuer: Issuer;
  readonly clientId: ClientId;
  /** Asked only when a code is needed. The text is a secret. */
  readonly readCode: () => Promise<string>;
}

export interface EnrollmentResult {
  readonly identity: Identity;
  /** Whether the device was enrolled as just this before; nothing was sent then. */
  readonly isRepeated: boolean;
}

const answerSchema = v.object({ client_id: v.string(), kid: v.string(), issuer: v.string() });

async function checkEarlier(request: EnrollmentRequest): Promise<Identity | undefined> {
  const { stateDir, issuer, clientId } = request;
  const earlier = await readIdentity(stateDir);
  if (earlier === undefined) return undefined;
  if (earlier.issuer !== issuer || earlier.clientId !== clientId) {
    throw new UsageError(
      `${stateDir} is enrolled as ${earlier.clientId} at ${earlier.issuer}; ` +
        'use another state folder, or remove this one',
    );
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

export async function enroll(
  request: EnrollmentRequest,
  deps: { readonly http: HttpClient; readonly clock: Clock } & KeyHolders,
): Promise<EnrollmentResult> {
  const { stateDir, issuer, clientId } = request;
  // The first answer tells the time, so that a device that has none yet can prove itself fresh.
  const clock = createAuthorityTime({ machine: deps.clock, logger: silentLogger });
  const http = learnTimeFrom(deps.http, issuer, clock);
  await makeStateDir(stateDir);
  const earlier = await checkEarlier(request);
  if (earlier !== undefined) return { identity: earlier, isRepeated: true };

  const enrollmentCode = parseEnrollmentCode((await request.readCode()).trim(), 'enrollment code');
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
  // Of an identity that was here before, if any.
  for (const file of ['tokens', 'nextKey'] as const) await removeStateFile(stateDir, file);
  await writeIdentity(stateDir, identity);
  return { identity, isRepeated: false };
}
