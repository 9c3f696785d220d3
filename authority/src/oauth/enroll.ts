/**
 * `POST /enroll`: binds a device's new public key to its client id, by an enrollment code.
 *
 * Units   NumericDate.
 * Errors  `invalid_request` names the field; `invalid_grant` has one message for every code and
 *         client id that is refused.
 * Source  DESIGN 4 (Enrollment), 9 (I6, I9).
 *
 * @module
 */
import {
  type Clock,
  ConfigError,
  FormatError,
  hashEnrollmentCode,
  InvalidRequestError,
  type Issuer,
  importPublicJwk,
  JwtError,
  type Logger,
  type PublicKey,
  parseClientId,
  parsedBy,
  parseEnrollmentCode,
  parseWith,
  verifyEnrollmentProof,
} from '@latchkey/shared';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import * as v from 'valibot';
import type { Audit } from '../audit/audit.js';
import { type Attempt, auditChanges } from '../audit/request-audit.js';
import { acceptJson } from '../http/json-body.js';
import { MAX_OAUTH_BODY_BYTES } from '../http/server.js';
import type { Registry } from '../registry/registry.js';
import { createOAuthErrorHandler } from './error-reply.js';
import { jwtRefusal } from './jwt-refusal.js';

const schema = v.strictObject({
  enrollment_code: v.pipe(v.string(), parsedBy(parseEnrollmentCode)),
  client_id: v.pipe(v.string(), parsedBy(parseClientId)),
  public_key: v.looseObject({}),
  proof: v.string(),
});

type EnrollRequest = v.InferOutput<typeof schema>;

function readRequest(body: unknown): EnrollRequest {
  try {
    return parseWith(schema, body ?? {}, 'the request');
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const problems = error.problems.map(({ path, message }) => `${path} ${message}`.trim());
    throw new InvalidRequestError(problems.join('; '));
  }
}

function readPublicKey(jwk: unknown): PublicKey {
  try {
    return importPublicJwk(jwk, 'public_key');
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    throw new InvalidRequestError(error.message);
  }
}

const describeEnrollment = ({ auditFacts }: FastifyRequest): Attempt => ({
  type: 'enrollment',
  action: 'enroll',
  target: undefined,
  ...auditFacts,
});

const PROOF_NOT_VALID = 'proof is not valid for this code, client id, key and authority';

export function enrollEndpoint(deps: {
  readonly issuer: Issuer;
  readonly registry: Registry;
  readonly clock: Clock;
  readonly audit: Audit;
  readonly logger: Logger;
}): (app: FastifyInstance) => Promise<void> {
  const { issuer, registry, clock, audit, logger } = deps;

  const verifyProof = async (request: EnrollRequest, key: PublicKey) => {
    const { client_id: clientId, enrollment_code: enrollmentCode, proof } = request;
    const expected = { issuer, clientId, enrollmentCode, now: clock.now() };
    try {
      await verifyEnrollmentProof(proof, key, expected);
    } catch (error) {
      throw error instanceof JwtError ? jwtRefusal(error, PROOF_NOT_VALID) : error;
    }
  };

  return async (app) => {
    acceptJson(app);
    app.setErrorHandler(createOAuthErrorHandler({ logger, event: 'enroll.refused' }));
    auditChanges(app, { audit, log: registry, logger, describe: describeEnrollment });
    app.post('/enroll', { bodyLimit: MAX_OAUTH_BODY_BYTES }, async (request, reply) => {
      const body = readRequest(request.body);
      const { client_id: clientId } = body;
      request.clientId = clientId;
      const key = readPublicKey(body.public_key);
      await verifyProof(body, key);
      request.auditFacts = { kid: key.kid };
      const codeHash = hashEnrollmentCode(body.enrollment_code);
      const { isNew } = await registry.redeem({ codeHash, clientId, key });
      const { kid } = key;
      if (isNew) logger.info({ event: 'client.enrolled', clientId, kid }, 'client enrolled');
      reply.code(201).header('cache-control', 'no-store');
      return { client_id: clientId, kid, issuer };
    });
  };
}
